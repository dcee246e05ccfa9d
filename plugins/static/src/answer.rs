//! The answer to one request.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vendordock_plugin::{
    CacheHint, CacheScope, Error, FieldError, Part, PartKind, Request, Response,
};

use crate::settings::{self, Settings};
use crate::{shell, template};

pub(crate) fn respond(settings: &Settings, request: &Request) -> Result<Response, Error> {
    let mut response = Response::json(&filled(&settings.body, request)?)?;
    for configured in &settings.parts {
        response.parts.push(part(configured, request)?);
    }
    response.secret = settings.secret;
    response.cache = Some(CacheHint {
        scope: CacheScope::Instance,
        ttl_ms: settings.ttl_ms,
        stale_if_error_ms: 0,
    });
    Ok(response)
}

fn part(configured: &settings::Part, request: &Request) -> Result<Part, Error> {
    let (kind, content) = match &configured.cloud_config {
        Some(cloud_config) => {
            let document = Value::Object(filled(cloud_config, request)?);
            (
                PartKind::CloudConfig,
                format!("#cloud-config\n{}\n", yaml(&document)),
            )
        }
        None if configured.variables.is_empty() => {
            (configured.kind.into(), configured.content.clone())
        }
        None => {
            let mut variables = BTreeMap::new();
            for (name, text) in &configured.variables {
                variables.insert(name.clone(), filled_text(text, request)?);
            }
            let content = shell::with_variables(&configured.content, &variables);
            (configured.kind.into(), content)
        }
    };
    Ok(Part {
        name: configured.name.clone(),
        kind,
        content,
    })
}

/// JSON is YAML, but for what YAML calls not printable.
fn yaml(document: &Value) -> String {
    let mut text = String::new();
    for character in document.to_string().chars() {
        let printable = !matches!(
            character,
            '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        );
        if printable {
            text.push(character);
        } else {
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    text
}

fn filled(members: &Map<String, Value>, request: &Request) -> Result<Map<String, Value>, Error> {
    let filled = members.iter().map(|(key, value)| {
        let value = filled_value(value, request)?;
        Ok((key.clone(), value))
    });
    filled.collect()
}

fn filled_value(value: &Value, request: &Request) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) => Value::String(filled_text(text, request)?),
        Value::Array(values) => {
            let values = values.iter().map(|value| filled_value(value, request));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(members) => Value::Object(filled(members, request)?),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// `validate` has found each fault before the first request.
fn filled_text(text: &str, request: &Request) -> Result<String, Error> {
    match template::parse(text) {
        Ok(pieces) => Ok(template::fill(&pieces, request)),
        Err(message) => Err(Error::Misconfigured(vec![FieldError {
            pointer: String::new(),
            message,
        }])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::tests::request;

    fn response(settings: Value, metadata: &[(&str, &str)]) -> Response {
        let settings = serde_json::from_value(settings).unwrap();
        respond(&settings, &request(metadata)).unwrap()
    }

    #[test]
    fn texts_are_filled_at_any_depth_and_the_rest_is_as_configured() {
        let settings = json!({ "body": {
            "fqdn": "{{ hostname }}.example.test",
            "list": [1, true, null, { "tier": "{{ metadata.tier | default(\"tin\") }}" }],
        } });

        assert_eq!(
            response(settings, &[]).body,
            r#"{"fqdn":"web.example.test","list":[1,true,null,{"tier":"tin"}]}"#
        );
    }

    #[test]
    fn what_a_tenant_writes_stays_a_text() {
        let hostile = "\", \"admin\": true, \"x\": \"\n#!/bin/sh\u{7f}";
        let settings = json!({
            "body": { "tier": "{{ metadata.tier }}" },
            "parts": [{ "name": "c", "cloud_config": { "fqdn": "{{ metadata.tier }}" } }],
        });

        let response = response(settings, &[("tier", hostile)]);

        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body, json!({ "tier": hostile }));
        let content = &response.parts[0].content;
        let (first, document) = content.split_once('\n').unwrap();
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(
            (first, document),
            ("#cloud-config", json!({ "fqdn": hostile }))
        );
        assert!(content.contains("\\u007f") && !content.contains('\u{7f}'));
    }

    #[test]
    fn a_content_is_handed_on_as_it_is() {
        let content = "## template: jinja\n#cloud-config\nfqdn: {{ v1.local_hostname }}\n";
        let settings =
            json!({ "parts": [{ "name": "j", "kind": "cloud-config-jinja", "content": content }] });

        assert_eq!(
            response(settings, &[]).parts,
            [Part {
                name: "j".to_owned(),
                kind: PartKind::CloudConfigJinja,
                content: content.to_owned(),
            }]
        );
    }

    #[test]
    fn a_script_gets_its_variables() {
        let settings = json!({ "parts": [{
            "name": "s", "kind": "script", "content": "#!/bin/sh\necho \"$NAME\"\n",
            "variables": { "NAME": "{{ hostname }}" },
        }] });

        assert_eq!(
            response(settings, &[]).parts[0].content,
            "#!/bin/sh\nNAME='web'\necho \"$NAME\"\n"
        );
    }
}
