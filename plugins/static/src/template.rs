//! Texts with `{{ hostname }}` in them.
//!
//! There is no language behind it: a name from a fixed list, and what stands there when nova does not say. A value that is put
//! in is never read as a template again.

use vendordock_plugin::Request;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it stands.
    Text(String),
    /// What nova says, or else this.
    Value(Name, String),
}

/// What can be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    InstanceId,
    ProjectId,
    Hostname,
    ImageId,
    BootRoles,
    Metadata(String),
    Target,
    Cloud,
}

const NAMES: [(&str, Name); 7] = [
    ("instance_id", Name::InstanceId),
    ("project_id", Name::ProjectId),
    ("hostname", Name::Hostname),
    ("image_id", Name::ImageId),
    ("boot_roles", Name::BootRoles),
    ("target", Name::Target),
    ("cloud", Name::Cloud),
];

/// Reads a template, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, after)) = after.split_once("}}") else {
            return Err("`{{` without `}}`; two braces as text are `{{ \"{{\" }}`".to_owned());
        };
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(placeholder(inside.trim())?);
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Ok(pieces)
}

fn placeholder(inside: &str) -> Result<Piece, String> {
    if inside == "\"{{\"" {
        return Ok(Piece::Text("{{".to_owned()));
    }
    let (name, default) = match inside.split_once('|') {
        Some((name, filter)) => (name.trim(), default(filter.trim())?),
        None => (inside, String::new()),
    };
    Ok(Piece::Value(named(name)?, default))
}

/// The text in `default("text")`.
fn default(filter: &str) -> Result<String, String> {
    let text = filter
        .strip_prefix("default(\"")
        .and_then(|rest| rest.strip_suffix("\")"));
    match text {
        Some(text) if !text.contains(['"', '\\']) => Ok(text.to_owned()),
        _ => Err(format!(
            "`{filter}`: after `|` stands `default(\"text\")`, without quotes and backslashes in the text"
        )),
    }
}

fn named(name: &str) -> Result<Name, String> {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(name.clone());
    }
    let key = name.strip_prefix("metadata.").or_else(|| {
        let quoted = name.strip_prefix("metadata[\"")?;
        quoted.strip_suffix("\"]")
    });
    match key {
        Some(key) if !key.is_empty() => Ok(Name::Metadata(key.to_owned())),
        _ => {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "`{name}` is not known here; known: {}, metadata.KEY, metadata[\"KEY\"]",
                known.join(", ")
            ))
        }
    }
}

/// Puts in what nova says.
pub(crate) fn fill(pieces: &[Piece], request: &Request) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Value(name, default) => match value(name, request) {
                Some(value) if !value.is_empty() => text.push_str(&value),
                _ => text.push_str(default),
            },
        }
    }
    text
}

fn value(name: &Name, request: &Request) -> Option<String> {
    let (instance, context) = (&request.instance, &request.context);
    match name {
        Name::InstanceId => Some(instance.id.clone()),
        Name::ProjectId => Some(instance.project_id.clone()),
        Name::Hostname => instance.hostname.clone(),
        Name::ImageId => instance.image_id.clone(),
        Name::BootRoles => Some(instance.boot_roles.join(",")),
        Name::Metadata(key) => instance.metadata_value(key).map(str::to_owned),
        Name::Target => Some(context.target.clone()),
        Name::Cloud => Some(context.cloud.clone()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use vendordock_plugin::{CallContext, Instance};

    use super::*;

    pub(crate) fn request(metadata: &[(&str, &str)]) -> Request {
        Request {
            context: CallContext {
                request_id: "req-1".to_owned(),
                target: "site".to_owned(),
                cloud: "default".to_owned(),
                budget_ms: 1_000,
                traceparent: None,
            },
            instance: Instance {
                id: "i-1".to_owned(),
                project_id: "p-1".to_owned(),
                hostname: Some("web".to_owned()),
                image_id: None,
                user_data: None,
                metadata: metadata
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                boot_roles: vec!["member".to_owned(), "reader".to_owned()],
            },
            raw: "{}".to_owned(),
        }
    }

    fn filled(text: &str, metadata: &[(&str, &str)]) -> String {
        fill(&parse(text).unwrap(), &request(metadata))
    }

    #[test]
    fn each_name_stands_for_what_nova_says() {
        let text = "{{instance_id}} {{ project_id }} {{ hostname }} {{ image_id }} {{ boot_roles }} {{ target }} {{ cloud }} \
                    {{ metadata.a-b.c }} {{ metadata[\"d e\"] }}";

        assert_eq!(
            filled(text, &[("a-b.c", "1"), ("d e", "2")]),
            "i-1 p-1 web  member,reader site default 1 2"
        );
    }

    #[test]
    fn what_nova_does_not_say_is_the_default() {
        let text = "{{ metadata.tier | default(\"gold\") }}";

        assert_eq!(filled(text, &[]), "gold");
        assert_eq!(filled(text, &[("tier", "")]), "gold");
        assert_eq!(filled(text, &[("tier", "tin")]), "tin");
        assert_eq!(filled("<{{ metadata.tier }}>", &[]), "<>");
    }

    #[test]
    fn a_value_is_no_template() {
        let value = "{{ project_id }}";

        assert_eq!(filled("{{ metadata.x }}", &[("x", value)]), value);
        assert_eq!(filled("{{ \"{{\" }} hostname }}", &[]), "{{ hostname }}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "{{",
            "{{ hostname",
            "{{ }}",
            "{{ Hostname }}",
            "{{ metadata }}",
            "{{ metadata. }}",
            "{{ metadata[\"\"] }}",
            "{{ hostname | upper }}",
            "{{ hostname | default(x) }}",
            "{{ hostname | default(\"a\"b\") }}",
            "{{ user_data }}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
