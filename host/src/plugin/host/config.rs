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
