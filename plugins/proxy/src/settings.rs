//! The configuration.

use serde::Deserialize;

/// What the gateway checks the table against, so that nothing is checked again here.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) credential: Option<String>,
    pub(crate) header: Option<String>,
    #[serde(default)]
    pub(crate) redirects: u8,
    #[serde(default)]
    pub(crate) secret: bool,
    #[serde(default)]
    pub(crate) ttl_ms: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(settings: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        let errors = schema.iter_errors(settings);
        errors
            .map(|error| error.instance_path().to_string())
            .collect()
    }

    #[test]
    fn an_address_is_enough() {
        let least = json!({ "url": "http://127.0.0.1:8080/pollinate?cell=1" });

        assert_eq!(faults(&least), Vec::<String>::new());
        let settings: Settings = serde_json::from_value(least).unwrap();
        assert_eq!((settings.redirects, settings.ttl_ms), (0, 0));
    }

    #[test]
    fn what_could_not_work_is_found_before_the_first_request() {
        let url = "https://service.example.test/";
        for (settings, at) in [
            (json!({}), ""),
            (json!({ "url": "service.example.test" }), "/url"),
            (
                json!({ "url": "https://user:password@service.example.test/" }),
                "/url",
            ),
            (json!({ "url": url, "header": "X-Token" }), ""),
            (
                json!({ "url": url, "header": "X Token", "credential": "c" }),
                "/header",
            ),
            (json!({ "url": url, "redirects": 6 }), "/redirects"),
            (json!({ "url": url, "uri": url }), ""),
        ] {
            assert_eq!(faults(&settings), [at], "{settings}");
        }
    }
}
