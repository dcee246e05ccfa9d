//! The configuration, and what a schema cannot say of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use vendordock_plugin::{FieldError, PartKind};

use crate::{shell, template};

/// What the gateway checks the table against, so that nothing is checked again here.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    #[serde(default)]
    pub(crate) body: Map<String, Value>,
    #[serde(default)]
    pub(crate) parts: Vec<Part>,
    #[serde(default)]
    pub(crate) secret: bool,
    #[serde(default = "one_hour")]
    pub(crate) ttl_ms: u32,
}

/// One part, by its content or as a cloud-config.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) cloud_config: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
}

/// As the WIT package has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    #[default]
    CloudConfig,
    CloudConfigJinja,
    Script,
    Boothook,
    IncludeUrls,
    IncludeUrlsOnce,
}

impl From<Kind> for PartKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::CloudConfig => Self::CloudConfig,
            Kind::CloudConfigJinja => Self::CloudConfigJinja,
            Kind::Script => Self::Script,
            Kind::Boothook => Self::Boothook,
            Kind::IncludeUrls => Self::IncludeUrls,
            Kind::IncludeUrlsOnce => Self::IncludeUrlsOnce,
        }
    }
}

fn one_hour() -> u32 {
    3_600_000
}

impl Settings {
    pub(crate) fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        for (key, value) in &self.body {
            check(&format!("/body/{}", escaped(key)), value, &mut faults);
        }
        for (index, part) in self.parts.iter().enumerate() {
            let at = format!("/parts/{index}");
            for (key, value) in part.cloud_config.iter().flatten() {
                let at = format!("{at}/cloud_config/{}", escaped(key));
                check(&at, value, &mut faults);
            }
            if part.variables.is_empty() {
                continue;
            }
            for (name, text) in &part.variables {
                check_text(&format!("{at}/variables/{name}"), text, &mut faults);
            }
            let is_script = matches!(part.kind, Kind::Script | Kind::Boothook);
            if !is_script || !shell::takes_variables(&part.content) {
                faults.push(FieldError {
                    pointer: format!("{at}/variables"),
                    message: "only a script or boothook that begins with `#!` and a shell (sh, bash, dash, ash, ksh, zsh) \
                              has variables"
                        .to_owned(),
                });
            }
        }
        faults
    }
}

fn check(at: &str, value: &Value, faults: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => check_text(at, text, faults),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                check(&format!("{at}/{index}"), value, faults);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                check(&format!("{at}/{}", escaped(key)), value, faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_text(at: &str, text: &str, faults: &mut Vec<FieldError>) {
    if let Err(message) = template::parse(text) {
        faults.push(FieldError {
            pointer: at.to_owned(),
            message,
        });
    }
}

/// A key as it stands in a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema_faults(settings: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        let errors = schema.iter_errors(settings);
        errors
            .map(|error| error.instance_path().to_string())
            .collect()
    }

    fn faults(settings: Value) -> Vec<String> {
        assert_eq!(schema_faults(&settings), Vec::<String>::new());
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let faults = settings.faults();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        assert_eq!(faults(json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_template_is_found_wherever_it_is_wrong() {
        let settings = json!({
            "body": { "a/b": ["{{ hostname }}", { "c": "{{ hostnam }}" }] },
            "parts": [
                { "name": "a", "cloud_config": { "fqdn": "{{ metadata }}" } },
                { "name": "b", "kind": "script", "content": "#!/bin/sh\n", "variables": { "X": "{{ x" } },
            ],
        });

        assert_eq!(
            faults(settings),
            [
                "/body/a~1b/1/c",
                "/parts/0/cloud_config/fqdn",
                "/parts/1/variables/X"
            ]
        );
    }

    #[test]
    fn variables_are_for_shells() {
        let part = |kind: &str, content: &str| {
            json!({ "parts": [{
                "name": "a", "kind": kind, "content": content, "variables": { "X": "{{ hostname }}" }
            }] })
        };

        assert_eq!(
            faults(part("script", "#!/usr/bin/env bash\n")),
            Vec::<String>::new()
        );
        for (kind, content) in [
            ("script", "#!/usr/bin/python3\n"),
            ("script", "echo\n"),
            ("cloud-config", "#!/bin/sh\n"),
        ] {
            assert_eq!(
                faults(part(kind, content)),
                ["/parts/0/variables"],
                "{kind}"
            );
        }
    }

    #[test]
    fn a_part_has_a_name_and_one_content() {
        for part in [
            json!({ "cloud_config": { "a": 1 } }),
            json!({ "name": "a" }),
            json!({ "name": "a", "kind": "script" }),
            json!({ "name": "a", "kind": "script", "content": "x", "cloud_config": { "a": 1 } }),
        ] {
            assert_eq!(
                schema_faults(&json!({ "parts": [part] })),
                ["/parts/0"],
                "{part}"
            );
        }
        let settings = json!({ "parts": [{ "name": "a/b", "cloud_config": { "a": 1 } }] });
        assert_eq!(schema_faults(&settings), ["/parts/0/name"]);
    }
}
