//! The `config` table of a target that this plugin answers for.

use serde::Deserialize;

/// What the gateway checks the table against, so that nothing is checked again here.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

pub(crate) const DEFAULT_CREDENTIAL: &str = "ipa";

#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    pub(crate) domain: String,
    realm: Option<String>,
    /// A list already, although one server is asked: failing over to a second one must know which of
    /// them has what the first was told last.
    servers: Vec<String>,
    pub(crate) user: String,
    #[serde(default = "default_credential")]
    pub(crate) credential: String,
    #[serde(default = "default_api_version")]
    pub(crate) api_version: String,
}

fn default_credential() -> String {
    DEFAULT_CREDENTIAL.to_owned()
}

fn default_api_version() -> String {
    "2.146".to_owned()
}

impl Settings {
    pub(crate) fn realm(&self) -> String {
        match &self.realm {
            Some(realm) => realm.clone(),
            None => self.domain.to_ascii_uppercase(),
        }
    }

    /// The origin of the server to ask.
    pub(crate) fn server(&self) -> &str {
        // The schema wants one at least.
        self.servers.first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn least() -> Value {
        json!({
            "domain": "example.test",
            "servers": ["https://ipa.example.test"],
            "user": "vendordock",
        })
    }

    fn faults(settings: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        let errors = schema.iter_errors(settings);
        errors
            .map(|error| error.instance_path().to_string())
            .collect()
    }

    #[test]
    fn the_least_that_can_be_said_is_enough() {
        assert_eq!(faults(&least()), Vec::<String>::new());
        let settings: Settings = serde_json::from_value(least()).unwrap();

        assert_eq!(settings.realm(), "EXAMPLE.TEST");
        assert_eq!(settings.server(), "https://ipa.example.test");
        assert_eq!(settings.credential, "ipa");
        assert_eq!(settings.api_version, "2.146");
    }

    #[test]
    fn a_realm_may_differ_from_its_domain() {
        let mut settings = least();
        settings["realm"] = json!("IDM.EXAMPLE.TEST");
        assert_eq!(faults(&settings), Vec::<String>::new());
        let settings: Settings = serde_json::from_value(settings).unwrap();

        assert_eq!(settings.realm(), "IDM.EXAMPLE.TEST");
    }

    #[test]
    fn what_could_not_work_is_found_before_the_first_request() {
        let second = json!(["https://a.example.test", "https://b.example.test"]);
        for (key, value) in [
            ("domain", json!("example test")),
            ("domain", json!("Example.Test")),
            ("domain", json!(".example.test")),
            ("domain", json!("example.test.")),
            ("domain", json!("")),
            ("realm", json!("")),
            ("servers", json!([])),
            ("servers", second),
            ("user", json!("a&password=x")),
            ("user", json!("")),
            ("credential", json!("")),
            ("api_version", json!("2")),
        ] {
            let mut settings = least();
            settings[key] = value.clone();
            assert_eq!(faults(&settings), [format!("/{key}")], "{value}");
        }
        for server in [
            "http://ipa.example.test",
            "https://ipa.example.test/",
            "ipa.example.test",
        ] {
            let mut settings = least();
            settings["servers"] = json!([server]);
            assert_eq!(faults(&settings), ["/servers/0"], "{server}");
        }
        let mut misspelt = least();
        misspelt["server"] = json!("https://ipa.example.test");
        assert_eq!(faults(&misspelt), [""]);
    }
}
