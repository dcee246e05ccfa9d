//! `[state]` and the `state` of a target: where what plugins keep is kept, and how much that may be.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Document, Fault, TargetName, one_or_many};

/// A value goes into a plugin and out of it in one piece.
const LARGEST_VALUE_BYTES: usize = 1024 * 1024;

/// `[state]`: the file that all targets' state is in. It is made when a target is granted state, not before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The file.
    pub path: PathBuf,
    /// The most that the keys and values of all targets may have together.
    pub bytes: NonZeroU64,
    /// Files with a key each. The first seals what is written, and all of them open what was. When there are none, a key is
    /// made beside the store.
    #[serde(deserialize_with = "one_or_many::read")]
    pub key_file: Vec<PathBuf>,
}

/// `targets.NAME.state`: how much a target may keep, in each cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateQuota {
    /// Keys and values together.
    pub bytes: NonZeroU64,
    /// How many keys.
    pub keys: NonZeroU64,
    /// The longest value.
    pub value_bytes: NonZeroUsize,
}

impl State {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.path = directory.join(&self.path);
        for path in &mut self.key_file {
            *path = directory.join(&*path);
        }
    }

    pub(super) fn check(&self, document: &Document) -> Vec<Fault> {
        let key = ["state", "key_file"];
        if self.key_file.is_empty() && document.has(&key) {
            let message = "an empty list has no key to seal with; leave `key_file` out, and one is made beside the store";
            return vec![document.fault(&key, message)];
        }
        Vec::new()
    }

    /// The key that is made when none is given.
    pub fn own_key_file(&self) -> PathBuf {
        self.path.with_extension("key")
    }

    /// What seals, and where it is.
    pub fn key_files(&self) -> Vec<PathBuf> {
        if self.key_file.is_empty() {
            vec![self.own_key_file()]
        } else {
            self.key_file.clone()
        }
    }
}

impl StateQuota {
    pub(super) fn check(self, name: &TargetName, document: &Document) -> Vec<Fault> {
        let key = ["targets", name.as_str(), "state", "value_bytes"];
        let value_bytes = self.value_bytes.get();
        if value_bytes > LARGEST_VALUE_BYTES {
            return vec![document.fault(&key, format!("at most {LARGEST_VALUE_BYTES}"))];
        }
        if value_bytes as u64 > self.bytes.get() {
            let message = format!(
                "{value_bytes} is more than the {} `bytes` that all values may have",
                self.bytes
            );
            return vec![document.fault(&key, message)];
        }
        Vec::new()
    }
}

impl Default for State {
    fn default() -> Self {
        // Set by systemd for `StateDirectory=`; a list when there are several.
        let given = std::env::var_os("STATE_DIRECTORY");
        let given = given.and_then(|list| std::env::split_paths(&list).next());
        let directory = given.unwrap_or_else(|| PathBuf::from("/var/lib/vendordock"));
        Self {
            path: directory.join("state.redb"),
            bytes: const { NonZeroU64::new(256 * 1024 * 1024).expect("not zero") },
            key_file: Vec::new(),
        }
    }
}

impl Default for StateQuota {
    fn default() -> Self {
        Self {
            bytes: const { NonZeroU64::new(1024 * 1024).expect("not zero") },
            keys: const { NonZeroU64::new(1_000).expect("not zero") },
            value_bytes: const { NonZeroUsize::new(64 * 1024).expect("not zero") },
        }
    }
}
