//! Does to its state what the instance's metadata says in `do`, one step after the other, and reports what came of each.
//!
//! A step is a list in JSON, of a word and its arguments; a time to live at the end may be left out:
//!
//! | step | reported |
//! | --- | --- |
//! | `["get", key]` | `[value, revision, ttl_ms]`, or null |
//! | `["set", key, value, ttl_ms]` | the revision |
//! | `["set-long", key, bytes]` | the same, for a value of that many bytes |
//! | `["compare-and-set", key, expected, value, ttl_ms]` | the revision |
//! | `["delete", key, expected]` | null |
//! | `["increment", key, delta, ttl_ms]` | the sum |
//! | `["list-keys", prefix, cursor, limit]` | `[keys, cursor]` |
//! | `["add", key, times]` | adds one to a number by compare-and-set, that many times; the last revision |
//!
//! An error is reported as `{"error": ...}`, as Rust prints it.

use serde_json::{Value, json};
use vendordock_plugin::state::{self, StateError};
use vendordock_plugin::{Error, FieldError, Manifest, Plugin, Request, Response, export};

struct State;

impl Plugin for State {
    fn describe() -> Manifest {
        Manifest {
            name: "state".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let steps = request.instance.metadata_value("do").unwrap_or("[]");
        let steps: Vec<Step> = serde_json::from_str(steps).map_err(wrong)?;
        let reports: Vec<Value> = steps
            .into_iter()
            .map(|step| take(step).unwrap_or_else(|error| json!({ "error": format!("{error:?}") })))
            .collect();
        Response::json(&json!({ "did": reports }))
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(from = "Vec<Value>")]
struct Step(Vec<Value>);

impl From<Vec<Value>> for Step {
    fn from(parts: Vec<Value>) -> Self {
        Self(parts)
    }
}

impl Step {
    fn text(&self, place: usize) -> &str {
        self.0
            .get(place)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn number(&self, place: usize) -> Option<u64> {
        self.0.get(place).and_then(Value::as_u64)
    }
}

fn take(step: Step) -> Result<Value, StateError> {
    let key = step.text(1);
    Ok(match step.text(0) {
        "get" => match state::get(key)? {
            Some(entry) => json!([
                String::from_utf8_lossy(&entry.value),
                entry.revision,
                entry.ttl_ms
            ]),
            None => Value::Null,
        },
        "set" => state::set(key, step.text(2).as_bytes(), step.number(3))?.into(),
        "set-long" => {
            let bytes = step.number(2).unwrap_or_default() as usize;
            state::set(key, &vec![b'x'; bytes], None)?.into()
        }
        "compare-and-set" => {
            let expected = step.number(2).unwrap_or_default();
            let value = step.text(3).as_bytes();
            state::compare_and_set(key, expected, value, step.number(4))?.into()
        }
        "delete" => {
            state::delete(key, step.number(2))?;
            Value::Null
        }
        "increment" => {
            let delta = step.0.get(2).and_then(Value::as_i64).unwrap_or(1);
            state::increment(key, delta, step.number(3))?.into()
        }
        "list-keys" => {
            let cursor = step.0.get(2).and_then(Value::as_str);
            let limit = step.number(3).unwrap_or(100) as u32;
            let (keys, cursor) = state::list_keys(key, cursor, limit)?;
            json!([keys, cursor])
        }
        "add" => {
            let mut revision = 0;
            for _ in 0..step.number(2).unwrap_or(1) {
                revision = state::update(key, None, |value| {
                    let text = value.and_then(|value| std::str::from_utf8(value).ok());
                    let number: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
                    (number + 1).to_string().into_bytes()
                })?;
            }
            revision.into()
        }
        word => json!({ "error": format!("no such step: {word}") }),
    })
}

fn wrong(error: serde_json::Error) -> Error {
    Error::InvalidRequest(vec![FieldError {
        pointer: "/metadata/do".to_owned(),
        message: error.to_string(),
    }])
}

export!(State);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_word_and_its_arguments() {
        let step: Step = serde_json::from_str(r#"["set", "k", "v", 20]"#).unwrap();

        assert_eq!(
            (step.text(0), step.text(2), step.number(3)),
            ("set", "v", Some(20))
        );
        assert_eq!((step.text(9), step.number(9)), ("", None));
    }
}
