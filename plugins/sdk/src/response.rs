//! Making an answer: what a plugin leaves unsaid in the records that it returns.

use serde::Serialize;

use crate::{CacheHint, CacheScope, Error, Manifest, Response};

impl Response {
    /// Answers with this value, which must be a JSON object.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when the value cannot be written as JSON, for example a map whose keys
    /// are not strings.
    pub fn json<T: Serialize + ?Sized>(body: &T) -> Result<Self, Error> {
        match serde_json::to_string(body) {
            Ok(body) => Ok(Self {
                body,
                ..Self::default()
            }),
            Err(error) => Err(Error::Internal(format!("the answer is no JSON: {error}"))),
        }
    }
}

/// Nothing for this instance: an empty object, cached as the manifest says.
impl Default for Response {
    fn default() -> Self {
        Self {
            body: "{}".to_owned(),
            parts: Vec::new(),
            secret: false,
            cache: None,
            extra: None,
        }
    }
}

/// Takes no configuration, asks for nothing, caches nothing, and leaves the name to be said.
impl Default for Manifest {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            description: String::new(),
            config_schema: r#"{"type":"object","additionalProperties":false}"#.to_owned(),
            response_schema: None,
            wants_credentials: Vec::new(),
            wants_urls: Vec::new(),
            cache: CacheHint::default(),
            idempotent: false,
            extra: None,
        }
    }
}

/// Used again for nobody.
impl Default for CacheHint {
    fn default() -> Self {
        Self {
            scope: CacheScope::None,
            ttl_ms: 0,
            stale_if_error_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_value_becomes_the_body() {
        let response = Response::json(&serde_json::json!({ "fqdn": "db.example.test" }));

        assert_eq!(
            response,
            Ok(Response {
                body: r#"{"fqdn":"db.example.test"}"#.to_owned(),
                ..Response::default()
            })
        );
    }

    #[test]
    fn a_value_that_is_no_json_is_an_error() {
        let response = Response::json(&BTreeMap::from([((1, 2), 3)]));

        assert_eq!(
            response,
            Err(Error::Internal(
                "the answer is no JSON: key must be a string".to_owned()
            ))
        );
    }
}
