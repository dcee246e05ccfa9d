//! How much each space has, and may have.
//!
//! Counted anew from the entries when the file is opened, and then along with every change: a number of its own in the
//! file could one day differ from what it counts.

use std::collections::HashMap;

use crate::config::StateQuota;

/// How much a space may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Keys and values together.
    pub bytes: u64,
    /// How many keys.
    pub keys: u64,
    /// The longest value.
    pub value_bytes: usize,
}

/// What a space has. Entries that have expired count until they are swept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// How many keys.
    pub keys: u64,
    /// Keys and values together.
    pub bytes: u64,
}

/// What all spaces have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage(HashMap<String, Used>);

impl From<StateQuota> for Quota {
    fn from(quota: StateQuota) -> Self {
        Self {
            bytes: quota.bytes.get(),
            keys: quota.keys.get(),
            value_bytes: quota.value_bytes.get(),
        }
    }
}

impl Usage {
    pub(super) fn of(&self, space: &str) -> Used {
        self.0.get(space).copied().unwrap_or_default()
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.0.values().map(|used| used.bytes).sum()
    }

    /// Those that have anything.
    pub(super) fn spaces(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, space: &str, bytes: u64) {
        if !self.0.contains_key(space) {
            self.0.insert(space.to_owned(), Used::default());
        }
        if let Some(used) = self.0.get_mut(space) {
            used.keys += 1;
            used.bytes += bytes;
        }
    }

    pub(super) fn subtract(&mut self, space: &str, bytes: u64) {
        if let Some(used) = self.0.get_mut(space) {
            used.keys -= 1;
            used.bytes -= bytes;
            if used.keys == 0 {
                self.0.remove(space);
            }
        }
    }
}
