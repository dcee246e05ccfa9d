//! Arguments and options of a command, checked as FreeIPA checks them before the command runs.

use serde_json::{Map, Value};

use super::error::PublicError;

/// What an option takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// One text. Stored as a list all the same.
    Text,
    /// Any number of texts; one may stand without a list.
    Texts,
    Flag,
}

/// What a command was given, after the checks.
pub(super) struct Params<'a> {
    options: &'a Map<String, Value>,
}

impl<'a> Params<'a> {
    /// `known` are the command's own options; `version`, `all`, `raw` and `no_members` have all.
    pub(super) fn check(
        options: &'a Map<String, Value>,
        known: &[(&'static str, Kind)],
    ) -> Result<Self, PublicError> {
        const COMMON: &[(&str, Kind)] = &[
            ("version", Kind::Text),
            ("all", Kind::Flag),
            ("raw", Kind::Flag),
            ("no_members", Kind::Flag),
        ];
        for (name, value) in options {
            let known = known.iter().chain(COMMON).find(|(known, _)| known == name);
            let Some((_, kind)) = known else {
                return Err(PublicError::unknown_option(name));
            };
            match (kind, value) {
                (_, Value::Null)
                | (Kind::Text | Kind::Texts, Value::String(_))
                | (Kind::Flag, Value::Bool(_)) => {}
                (Kind::Texts, Value::Array(values)) if values.iter().all(Value::is_string) => {}
                (Kind::Flag, _) => {
                    return Err(PublicError::conversion(name, "must be True or False"));
                }
                (Kind::Text, Value::Array(_)) => {
                    return Err(PublicError::conversion(name, "Only one value is allowed"));
                }
                _ => return Err(PublicError::conversion(name, "must be Unicode text")),
            }
        }
        Ok(Self { options })
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.options.get(name) == Some(&Value::Bool(true))
    }

    /// None when the option is not there; empty when it is there to take the attribute away.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let values = match self.options.get(name)? {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let texts = values.iter().filter_map(Value::as_str);
        // An empty text and null mean "no value" alike.
        Some(
            texts
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name)?.into_iter().next()
    }
}

/// The one positional argument of most commands. `name` is what the error calls it.
pub(super) fn key(args: &[Value], command: &str, name: &str) -> Result<String, PublicError> {
    match args {
        [] | [Value::Null] => Err(PublicError::required(name)),
        [Value::String(key)] if key.is_empty() => Err(PublicError::required(name)),
        [Value::String(key)] => Ok(key.clone()),
        [_] => Err(PublicError::conversion(name, "must be Unicode text")),
        _ => Err(PublicError::too_many_arguments(command, 1)),
    }
}

/// A host name as FreeIPA keeps it.
pub(super) fn normalized_host(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
