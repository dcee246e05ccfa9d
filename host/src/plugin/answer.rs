//! Whether a plugin's answer may go to a guest.
//!
//! nova passes on whatever parses in its own Python, and cloud-init refuses the whole datasource for one value that its
//! Python cannot read, in whichever target it stands: nesting too deep, half a surrogate pair, a number of thousands of
//! digits. PowerShell refuses an object with a key that stands there twice. A NUL ends a text early in whatever is
//! written in C, and no shell has a variable with one. So each answer is read through once, and handed on as the plugin
//! wrote it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Path, Segment, Track};

use super::bindings::vendordock::vendordata::types::Response;
use crate::compose;
use crate::config::Kind;
use crate::error::json_fault;

/// Integers beyond this lose digits in whatever reads numbers as doubles (JavaScript, PowerShell 5, jq).
const GREATEST_INTEGER: u64 = 1 << 53;

/// A pointer is for a person.
const LONGEST_POINTER: usize = 200;

/// Why an answer is not handed on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than the target allows.
    #[error("it has {length} bytes, and the target's response_bytes allow {limit}")]
    TooLong {
        /// What it has.
        length: usize,
        /// What it may have.
        limit: usize,
    },
    /// Deeper than the target allows.
    #[error("at {at} it is nested deeper than the target's response_depth allows, {limit}")]
    TooDeep {
        /// JSON Pointer.
        at: String,
        /// What it may have.
        limit: usize,
    },
    /// Not JSON, or JSON that some guest cannot read.
    #[error("at {at} it is not JSON that every guest reads: {fault}")]
    Json {
        /// JSON Pointer.
        at: String,
        /// With line and column, and without what stands there.
        fault: String,
    },
    /// What the plugin returned is no text at all.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Something in it for cloud-init that cloud-init would drop or stop at.
    #[error("it is nothing for cloud-init")]
    Part(#[from] compose::Fault),
}

/// Checks an answer: JSON of the target's kind, and nothing in it that breaks a guest. Parts are checked when they are
/// composed; here, how long they are.
pub(super) fn check(
    response: &Response,
    kind: Kind,
    most_bytes: usize,
    deepest: usize,
) -> Result<(), Error> {
    if response.parts.len() > compose::MOST_PARTS {
        return Err(compose::Fault::TooMany(response.parts.len()).into());
    }
    let parts = response.parts.iter();
    let parts_length: usize = parts.map(|part| part.name.len() + part.content.len()).sum();
    let length = response.body.len() + parts_length;
    if length > most_bytes {
        let limit = most_bytes;
        return Err(Error::TooLong { length, limit });
    }
    match kind {
        Kind::CloudInit if !response.body.trim_start().starts_with('{') => {
            check_text_or_null(&response.body)
        }
        Kind::Object | Kind::CloudInit => check_object(&response.body, deepest),
    }
}

fn check_text_or_null(body: &str) -> Result<(), Error> {
    let text = serde_json::from_str::<Option<Cow<str>>>(body);
    let text = text.and_then(|text| no_nul(text.as_deref().unwrap_or_default()));
    text.map_err(|error| {
        let at = format!("{:?}", "");
        let fault = json_fault(&error);
        Error::Json { at, fault }
    })
}

/// Checks that a text is one JSON object, and that nothing in it breaks a guest.
///
/// # Errors
///
/// The first thing in it that would.
pub fn check_object(body: &str, deepest: usize) -> Result<(), Error> {
    let too_deep = Cell::new(false);
    let value = Value {
        depth: 0,
        deepest,
        too_deep: &too_deep,
    };
    let mut reader = serde_json::Deserializer::from_str(body);
    let read = value.deserialize(&mut reader).and_then(|()| reader.end());
    let Err(error) = read else { return Ok(()) };
    // Where it is, is found by reading once more: a good answer does not pay for that.
    let mut track = Track::new();
    let mut reader = serde_json::Deserializer::from_str(body);
    let _ = value.deserialize(serde_path_to_error::Deserializer::new(
        &mut reader,
        &mut track,
    ));
    let at = pointer(&track.path());
    if too_deep.get() {
        let limit = deepest;
        return Err(Error::TooDeep { at, limit });
    }
    let fault = json_fault(&error);
    Err(Error::Json { at, fault })
}

/// RFC 6901, as long as a person reads it. Its members are the plugin's words: in quotes, and escaped.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer += &format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => pointer += "/?",
        }
        if pointer.len() > LONGEST_POINTER {
            pointer.truncate(pointer.floor_char_boundary(LONGEST_POINTER));
            pointer.push('…');
            break;
        }
    }
    format!("{pointer:?}")
}

/// Reads a value of any kind and keeps nothing of it.
#[derive(Clone, Copy)]
struct Value<'a> {
    depth: usize,
    deepest: usize,
    too_deep: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 {
            deserializer.deserialize_map(self)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl Value<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.deepest {
            self.too_deep.set(true);
            return Err(E::custom("nested too deep"));
        }
        let depth = self.depth + 1;
        Ok(Self { depth, ..self })
    }
}

fn no_nul<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') {
        return Err(E::custom("a NUL in a text"));
    }
    Ok(())
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        no_nul(text)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        if number > GREATEST_INTEGER {
            return Err(E::custom("an integer beyond 2^53"));
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_u64(number.unsigned_abs())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        // An integer too long for 64 bits arrives here.
        if number.fract() == 0.0 && number.abs() > GREATEST_INTEGER as f64 {
            return Err(E::custom("an integer beyond 2^53"));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::with_hasher(foldhash::fast::RandomState::default());
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            no_nul(&key)?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a member stands there twice"));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Part, PartKind};

    const DEEPEST: usize = 32;

    fn nested(depth: usize) -> String {
        r#"{"a":"#.repeat(depth - 1) + "{}" + &"}".repeat(depth - 1)
    }

    #[test]
    fn what_every_guest_reads_passes() {
        for body in [
            "{}",
            r#" {"a": [1, -2, 0.5, 1e3, true, null, "é\u00e9\ud83d\ude00"], "b": {"a": {}}} "#,
            r#"{"n": 9007199254740992, "m": -9007199254740992, "e": 1e-400}"#,
            r#"{"a": "\u0001\n", "A": 1}"#,
            &nested(DEEPEST),
        ] {
            assert!(check_object(body, DEEPEST).is_ok(), "{body}");
        }
    }

    #[test]
    fn what_breaks_some_guest_does_not() {
        for body in [
            "",
            "[]",
            "null",
            "\"#cloud-config\"",
            "{",
            "{} {}",
            "\u{feff}{}",
            r#"{"a": 1,}"#,
            r#"{'a': 1}"#,
            r#"{"a": 01}"#,
            r#"{"a": NaN}"#,
            r#"{"a": -Infinity}"#,
            r#"{"a": 1e400}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": "\udc00\ud800"}"#,
            r#"{"\ud800": 1}"#,
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": {"b": 1, "b": 2}}"#,
            r#"{"a": [{"b": 1, "b": 2}]}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"a": 9007199254740993}"#,
            r#"{"a": -9007199254740993}"#,
            r#"{"a": 9007199254740994.0}"#,
            r#"{"a": 1e16}"#,
            r#"{"a": 123456789012345678901234567890}"#,
            r#"{"a": "\u0000"}"#,
            r#"{"a\u0000": 1}"#,
            "{\"a\": \"\u{1}\"}",
            "{\"a\": \"\0\"}",
            "{}\0",
            &"[".repeat(100_000),
        ] {
            assert!(check_object(body, DEEPEST).is_err(), "{body}");
        }
    }

    #[test]
    fn depth_is_the_targets() {
        for deepest in [1, 3, 100] {
            assert!(check_object(&nested(deepest), deepest).is_ok());
            let deeper = check_object(&nested(deepest + 1), deepest);
            assert!(matches!(deeper, Err(Error::TooDeep { limit, .. }) if limit == deepest));
        }
        let list = format!("{{\"a\": {}{}}}", "[".repeat(32), "]".repeat(32));
        assert!(matches!(
            check_object(&list, DEEPEST),
            Err(Error::TooDeep { .. })
        ));
    }

    fn response(body: &str) -> Response {
        Response {
            body: body.to_owned(),
            parts: Vec::new(),
            secret: false,
            cache: None,
            extra: None,
        }
    }

    #[test]
    fn body_and_parts_together_are_as_long_as_allowed() {
        let mut response = response("{\"a\":1}");
        let check = |response: &Response, limit| check(response, Kind::Object, limit, DEEPEST);
        assert!(check(&response, 7).is_ok());
        assert!(matches!(
            check(&response, 6),
            Err(Error::TooLong {
                length: 7,
                limit: 6
            })
        ));

        response.parts.push(Part {
            name: "n".to_owned(),
            kind: PartKind::Script,
            content: "#!".to_owned(),
        });
        assert!(check(&response, 10).is_ok());
        assert!(check(&response, 9).is_err());
    }

    #[test]
    fn a_text_or_nothing_is_an_answer_where_cloud_init_is_the_guest() {
        let check = |body: &str, kind| check(&response(body), kind, 1_000, DEEPEST);
        for body in ["\"#!/bin/sh\"", " null", "{}", "{\"cloud-init\": null}"] {
            assert!(check(body, Kind::CloudInit).is_ok(), "{body}");
        }
        for body in [
            "[]",
            "1",
            "true",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "\"a\" 1",
            "",
            &nested(DEEPEST + 1),
        ] {
            assert!(check(body, Kind::CloudInit).is_err(), "{body}");
        }
        assert!(check("\"#!/bin/sh\"", Kind::Object).is_err());
    }

    #[test]
    fn a_fault_is_told_with_its_place_and_without_what_stands_there() {
        let told = |body: &str| match check_object(body, 3) {
            Ok(()) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        insta::assert_snapshot!(told(r#"{"a": [1, {"b/c": 9007199254740993}]}"#), @r#"at "/a/1/b~1c" it is not JSON that every guest reads: an integer beyond 2^53 at line 1 column 34"#);
        insta::assert_snapshot!(told(r#"{"x": {"hunter2": 1, "hunter2": 2}}"#), @r#"at "/x" it is not JSON that every guest reads: a member stands there twice at line 1 column 30"#);
        insta::assert_snapshot!(told(r#"["hunter2"]"#), @r#"at "" it is not JSON that every guest reads: invalid type: sequence, expected an object at line 1 column 0"#);
        insta::assert_snapshot!(told(r#"{"a": hunter2}"#), @r#"at "/a" it is not JSON that every guest reads: expected value at line 1 column 7"#);
        insta::assert_snapshot!(told(r#"{"a": {"b": {"c": {}}}}"#), @r#"at "/a/b/c" it is nested deeper than the target's response_depth allows, 3"#);
        insta::assert_snapshot!(told(r#"{"a\n": "\u0000"}"#), @r#"at "/a\n" it is not JSON that every guest reads: a NUL in a text at line 1 column 16"#);

        let text = check(&response("[\"hunter2\"]"), Kind::CloudInit, 1_000, 3);
        insta::assert_snapshot!(text.expect_err("a list"), @r#"at "" it is not JSON that every guest reads: invalid type: sequence, expected a string at line 1 column 0"#);
    }
}
