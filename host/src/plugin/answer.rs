//! Whether a plugin's answer may go to a guest.
//!
//! nova passes on whatever parses in its own Python, and cloud-init refuses the whole datasource for one value that its
//! Python cannot read, in whichever target it stands: nesting too deep, half a surrogate pair, a number of thousands of
//! digits. PowerShell refuses an object with a key that stands there twice. So each answer is read through once, and
//! handed on as the plugin wrote it.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::json_fault;

/// cloud-init of any age reads this depth, and nobody writes vendordata that is deeper.
const DEEPEST: usize = 32;

/// Integers beyond this lose digits in whatever reads numbers as doubles (JavaScript, PowerShell 5, jq).
const GREATEST_INTEGER: u64 = 1 << 53;

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
    /// Not JSON, or JSON that some guest cannot read.
    #[error("it is not JSON that every guest reads: {0}")]
    Json(String),
}

/// Checks an answer: one JSON object, and nothing in it that breaks a guest.
pub(super) fn check(body: &str, limit: usize) -> Result<(), Error> {
    if body.len() > limit {
        let length = body.len();
        return Err(Error::TooLong { length, limit });
    }
    let mut reader = serde_json::Deserializer::from_str(body);
    Value { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| Error::Json(json_fault(&error)))
}

/// Reads a value of any kind and keeps nothing of it.
struct Value {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 {
            deserializer.deserialize_map(self)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl Value {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= DEEPEST {
            return Err(E::custom(format_args!("nested deeper than {DEEPEST}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> Visitor<'de> for Value {
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

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
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
        let depth = self.deeper()?;
        while elements.next_element_seed(Self { depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut keys = HashSet::with_hasher(foldhash::fast::RandomState::default());
        while let Some(key) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a member stands there twice"));
            }
            members.next_value_seed(Self { depth })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_guest_reads_passes() {
        for body in [
            "{}",
            r#" {"a": [1, -2, 0.5, 1e3, true, null, "é\u00e9\ud83d\ude00"], "b": {"a": {}}} "#,
            r#"{"n": 9007199254740992}"#,
        ] {
            assert!(check(body, 1_000).is_ok(), "{body}");
        }
        let deepest = format!("{}{}", r#"{"a":"#.repeat(31), "{}") + &"}".repeat(31);
        assert!(check(&deepest, 1_000).is_ok());
    }

    #[test]
    fn what_breaks_some_guest_does_not() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(32), "{}") + &"}".repeat(32);
        for body in [
            "",
            "[]",
            "null",
            "\"#cloud-config\"",
            "{",
            "{} {}",
            r#"{"a": NaN}"#,
            r#"{"a": Infinity}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": "\udc00\ud800"}"#,
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": {"b": 1, "b": 2}}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"a": 9007199254740993}"#,
            r#"{"a": -9007199254740993}"#,
            r#"{"a": 123456789012345678901234567890}"#,
            "{\"a\": \"\u{1}\"}",
            &deep,
            &"[".repeat(100_000),
        ] {
            assert!(check(body, 1 << 20).is_err(), "{body}");
        }
        assert!(matches!(
            check("{\"a\":1}", 6),
            Err(Error::TooLong {
                length: 7,
                limit: 6
            })
        ));
    }
}
