//! `state`: a target's own keys. No store is built in yet, so that no target has any.

use crate::plugin::bindings::vendordock::vendordata::state::{Entry, Host, StateError};
use crate::plugin::call::{Call, Phase};

impl Host for Call {
    async fn get(&mut self, _key: String) -> wasmtime::Result<Result<Option<Entry>, StateError>> {
        self.no_state()
    }

    async fn set(
        &mut self,
        _key: String,
        _value: Vec<u8>,
        _ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<u64, StateError>> {
        self.no_state()
    }

    async fn compare_and_set(
        &mut self,
        _key: String,
        _expected: u64,
        _value: Vec<u8>,
        _ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<u64, StateError>> {
        self.no_state()
    }

    async fn delete(
        &mut self,
        _key: String,
        _expected: Option<u64>,
    ) -> wasmtime::Result<Result<(), StateError>> {
        self.no_state()
    }

    async fn increment(
        &mut self,
        _key: String,
        _delta: i64,
        _ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<i64, StateError>> {
        self.no_state()
    }

    async fn list_keys(
        &mut self,
        _prefix: String,
        _cursor: Option<String>,
        _limit: u32,
    ) -> wasmtime::Result<Result<(Vec<String>, Option<String>), StateError>> {
        self.no_state()
    }
}

impl Call {
    fn no_state<T>(&self) -> wasmtime::Result<Result<T, StateError>> {
        self.allow("state", Phase::Provide)?;
        Ok(Err(StateError::NotGranted))
    }
}
