//! `state`: the target's own keys, handed to `state`.

use std::time::Duration;

use tokio::time::Instant;

use crate::plugin::bindings::vendordock::vendordata::state::{Entry, Host, StateError};
use crate::plugin::call::{Call, Phase};
use crate::state::{self, Error, Space};
use crate::telemetry::metrics::StateOutcome;

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl Host for Call {
    async fn get(&mut self, key: String) -> Answer<Option<Entry>> {
        let Some((space, deadline)) = self.space("state.get")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let found = space.get(&key, deadline).await;
        Ok(self.told("state.get", found.map(|entry| entry.map(Entry::from))))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<u64> {
        let Some((space, deadline)) = self.space("state.set")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let written = space.set(&key, None, value, ttl_ms, deadline).await;
        Ok(self.told("state.set", written))
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: u64,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Answer<u64> {
        let Some((space, deadline)) = self.space("state.compare-and-set")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let expected = Some(expected);
        let written = space.set(&key, expected, value, ttl_ms, deadline).await;
        Ok(self.told("state.compare-and-set", written))
    }

    async fn delete(&mut self, key: String, expected: Option<u64>) -> Answer<()> {
        let Some((space, deadline)) = self.space("state.delete")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let deleted = space.delete(&key, expected, deadline).await;
        Ok(self.told("state.delete", deleted))
    }

    async fn increment(&mut self, key: String, delta: i64, ttl_ms: Option<u64>) -> Answer<i64> {
        let Some((space, deadline)) = self.space("state.increment")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let sum = space.increment(&key, delta, ttl_ms, deadline).await;
        Ok(self.told("state.increment", sum))
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> Answer<(Vec<String>, Option<String>)> {
        let Some((space, deadline)) = self.space("state.list-keys")? else {
            return Ok(Err(StateError::NotGranted));
        };
        let cursor = cursor.as_deref();
        let listed = space.list_keys(&prefix, cursor, limit, deadline).await;
        Ok(self.told("state.list-keys", listed))
    }
}

impl Call {
    /// The target's space, and until when one operation on it may take: a quarter of what is left stays with the plugin, so
    /// that it can still say what it could not do.
    fn space(&self, import: &'static str) -> wasmtime::Result<Option<(Space, Instant)>> {
        self.allow(import, Phase::Provide)?;
        let Some(space) = &self.grants.state else {
            self.grants.metrics.state(StateOutcome::Denied);
            tracing::warn!(
                "the plugin asked for {import}, and this target was not granted state; `state = {{}}` in [targets.{}] grants it",
                self.grants.target
            );
            return Ok(None);
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience: Duration = left * 3 / 4;
        Ok(Some((space.clone(), Instant::now() + patience)))
    }

    fn told<T>(&self, import: &'static str, answer: Result<T, Error>) -> Result<T, StateError> {
        let error = match answer {
            Ok(answer) => {
                self.grants.metrics.state(StateOutcome::Done);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let (outcome, told) = match error {
            Error::Conflict(revision) => (StateOutcome::Conflict, StateError::Conflict(revision)),
            Error::InvalidKey => (StateOutcome::InvalidKey, StateError::InvalidKey),
            Error::Quota => (StateOutcome::Quota, StateError::QuotaExceeded),
            Error::Storage(_)
            | Error::Full
            | Error::NoCounter
            | Error::Overflow
            | Error::Seal
            | Error::Slow
            | Error::Busy
            | Error::Down => {
                // The plugin is told no more than this, and may tell nova less still.
                tracing::warn!("{import} failed: {error}");
                let text = match error {
                    Error::Storage(_) => Error::Down.to_string(),
                    error => error.to_string(),
                };
                (StateOutcome::Unavailable, StateError::Unavailable(text))
            }
        };
        self.grants.metrics.state(outcome);
        Err(told)
    }
}

impl From<state::Entry> for Entry {
    fn from(entry: state::Entry) -> Self {
        let state::Entry {
            value,
            revision,
            ttl_ms,
        } = entry;
        Self {
            value,
            revision,
            ttl_ms,
        }
    }
}
