//! What a value may look like of which nothing else is known.
//!
//! Members that nova may send one day are handed on to plugins as they came. A plugin's own reader may not stand what ours
//! does: thousands of brackets, or a key twice, of which it would take the first and somebody else the last.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::json_fault;

/// As deep as an answer may be, counted from the body.
const DEEPEST: usize = 32;

/// Reads a value, and says what is wrong with its shape.
pub(super) fn check(value: &str) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_str(value);
    Value { depth: 1 }
        .deserialize(&mut reader)
        .map_err(|error| {
            let fault = json_fault(&error);
            // The place is one in the value, and would be taken for one in the body.
            match fault.split_once(" at line ") {
                Some((fault, _)) => fault.to_owned(),
                None => fault,
            }
        })
}

/// Reads a value of any kind and keeps nothing of it.
struct Value {
    depth: usize,
}

impl Value {
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth >= DEEPEST {
            return Err(E::custom(format_args!("nested deeper than {DEEPEST}")));
        }
        let depth = self.depth + 1;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
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

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key) {
                return Err(A::Error::custom("a key stands there twice"));
            }
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_be_so_deep_and_no_deeper() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);

        assert_eq!(check(&nested(DEEPEST - 1)), Ok(()));
        for depth in [DEEPEST + 1, 10_000] {
            let fault = check(&nested(depth)).expect_err("too deep");
            assert_eq!(fault, "nested deeper than 32");
        }
        assert_eq!(check(r#"{"a": [1, -1, 0.5, true, null, "x", {}]}"#), Ok(()));
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused_at_any_depth() {
        for value in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "\u0061": 2}}]"#] {
            let fault = check(value).expect_err("twice");
            assert_eq!(fault, "a key stands there twice");
        }
    }
}
