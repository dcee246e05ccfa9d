//! `state`: the target's own keys, handed to `state`.

use std::fmt;

use tokio::time::Instant;

use crate::plugin::bindings::vendordock::vendordata::state::{Entry, Host, StateError};
use crate::plugin::call::{Call, Phase};
use crate::state::{self, Error, Space};
use crate::telemetry::metrics::StateOutcome;

/// Operations of one call. Each write is a flush of the disk, which the others share.
const MOST_OPERATIONS: u32 = 1_000;

/// Failures of one call that are logged.
const MOST_LOGGED: u32 = 10;

/// What one call has used up.
#[derive(Default)]
pub(in crate::plugin) struct Spent {
    operations: u32,
    failures: u32,
}

/// Where an operation takes place, and until when.
enum Admitted {
    To(Space, Instant),
    Refused(StateError),
}

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl Host for Call {
    async fn get(&mut self, key: String) -> Answer<Option<Entry>> {
        let (space, deadline) = match self.admit("state.get")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
        };
        let found = space.get(&key, deadline).await;
        Ok(self.told("state.get", found.map(|entry| entry.map(Entry::from))))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<u64> {
        let (space, deadline) = match self.admit("state.set")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
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
        let (space, deadline) = match self.admit("state.compare-and-set")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
        };
        let expected = Some(expected);
        let written = space.set(&key, expected, value, ttl_ms, deadline).await;
        Ok(self.told("state.compare-and-set", written))
    }

    async fn delete(&mut self, key: String, expected: Option<u64>) -> Answer<()> {
        let (space, deadline) = match self.admit("state.delete")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
        };
        let deleted = space.delete(&key, expected, deadline).await;
        Ok(self.told("state.delete", deleted))
    }

    async fn increment(&mut self, key: String, delta: i64, ttl_ms: Option<u64>) -> Answer<i64> {
        let (space, deadline) = match self.admit("state.increment")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
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
        let (space, deadline) = match self.admit("state.list-keys")? {
            Admitted::To(space, deadline) => (space, deadline),
            Admitted::Refused(error) => return Ok(Err(error)),
        };
        let cursor = cursor.as_deref();
        let listed = space.list_keys(&prefix, cursor, limit, deadline).await;
        Ok(self.told("state.list-keys", listed))
    }
}

impl Call {
    /// The target's space, if the call may use it. A quarter of the time that is left stays with the plugin, so that it can
    /// still say what it could not do.
    fn admit(&mut self, import: &'static str) -> wasmtime::Result<Admitted> {
        self.allow(import, Phase::Provide)?;
        let Some(space) = self.grants.state.clone() else {
            self.grants.metrics.state(StateOutcome::Denied);
            let target = self.grants.clone();
            let target = &target.target;
            self.log_failure(format_args!(
                "the plugin asked for {import}, and this target was not granted state; `state = {{}}` in [targets.{target}] grants it"
            ));
            return Ok(Admitted::Refused(StateError::NotGranted));
        };
        self.state.operations = self.state.operations.saturating_add(1);
        if self.state.operations > MOST_OPERATIONS {
            let text = format!("a call has {MOST_OPERATIONS} operations on its state");
            self.grants.metrics.state(StateOutcome::Unavailable);
            self.log_failure(format_args!("{import} failed: {text}"));
            return Ok(Admitted::Refused(StateError::Unavailable(text)));
        }
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        Ok(Admitted::To(space, now + left * 3 / 4))
    }

    fn told<T>(&mut self, import: &'static str, answer: Result<T, Error>) -> Result<T, StateError> {
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
                self.log_failure(format_args!("{import} failed: {error}"));
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

    /// A plugin that tries for ever must not fill the log.
    fn log_failure(&mut self, what: fmt::Arguments<'_>) {
        self.state.failures = self.state.failures.saturating_add(1);
        if self.state.failures <= MOST_LOGGED {
            tracing::warn!("{what}");
        }
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
