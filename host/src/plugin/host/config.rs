//! `config`: the target's own table.

use crate::plugin::bindings::vendordock::vendordata::config;
use crate::plugin::call::{Call, Phase};

impl config::Host for Call {
    fn all(&mut self) -> wasmtime::Result<String> {
        self.allow("config.all", Phase::Validate)?;
        Ok(self.grants.config_text.clone())
    }

    fn get(&mut self, pointer: String) -> wasmtime::Result<Option<String>> {
        self.allow("config.get", Phase::Validate)?;
        Ok(self
            .grants
            .config
            .pointer(&pointer)
            .map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn a_pointer_is_read_as_rfc_6901_has_it() {
        let config = json!({
            "": "empty",
            "a/b": 1,
            "m~n": 2,
            "list": [{"x": "y"}, "two"],
            "none": null,
            "é": "e",
        });
        let get = |pointer: &str| config.pointer(pointer).map(Value::to_string);
        for (pointer, value) in [
            ("", Some(&*config.to_string())),
            ("/", Some(r#""empty""#)),
            ("/a~1b", Some("1")),
            ("/m~0n", Some("2")),
            ("/list/0/x", Some(r#""y""#)),
            ("/list/1", Some(r#""two""#)),
            ("/none", Some("null")),
            ("/é", Some(r#""e""#)),
            ("/a/b", None),
            ("/list/01", None),
            ("/list/-", None),
            ("/list/2", None),
            ("/list/18446744073709551616", None),
            ("/none/x", None),
            ("list", None),
            ("a~1b", None),
            ("#/list", None),
        ] {
            assert_eq!(get(pointer).as_deref(), value, "{pointer}");
        }
    }
}
