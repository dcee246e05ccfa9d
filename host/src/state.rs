//! What plugins keep: keys and values in one file, which survives whatever happens to the process.
//!
//! The file is redb's: a tree in pure Rust, with transactions that are wholly there after a crash or not at all, a checksum
//! on every page, and readers that wait for no writer. SQLite would do as well, and would bring a C library
//! with a query language for what is a map with an order.
//!
//! All writes go through one thread (`writer.rs`). It commits those that have come while it committed the ones before, so
//! that a disk which takes ten milliseconds for a commit serves more than a hundred writers a second. What was
//! acknowledged is on the disk. Nothing here makes a worker of the runtime wait for a disk: reads run on the threads for
//! blocking work, few at a time, since a disk that hangs must leave some to others.
//!
//! Each target of each cloud has a space of its own, and reaches no other. What the gateway keeps for itself will have
//! spaces whose names no target has.

mod file;
mod gauges;
mod seal;
mod tables;
mod usage;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, ReadOnlyTable, ReadableDatabase as _};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

pub use self::file::Error as OpenError;
use self::file::{Found, Place};
pub use self::gauges::Gauges;
use self::seal::Keys;
use self::tables::{ENTRIES, Tables};
pub use self::tables::{Entry, Listing};
use self::usage::Usage;
pub use self::usage::{Quota, Used};
use self::writer::{Job, Mailbox};
use crate::config::{self, CloudName, TargetName};

/// The longest key.
const KEY_BYTES: usize = 512;

/// Keys that one listing gives.
const MOST_LISTED: u32 = 1_000;

/// Reads that may be at the disk at once.
const READS: usize = 16;

/// How long the end of the process waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// Why an operation was not done. What an `Unavailable` one has written is wholly there, or not at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is at this revision; 0 when there is none.
    #[error("the key is at revision {0}")]
    Conflict(u64),
    /// Empty, too long, or with control characters.
    #[error("a key has 1 to {KEY_BYTES} bytes and no control characters")]
    InvalidKey,
    /// The space may have no more.
    #[error("the quota is used up")]
    Quota,
    /// All spaces together may have no more.
    #[error("the store is full: [state] bytes")]
    Full,
    /// The value is no number, and cannot be added to.
    #[error("the key holds no counter")]
    NoCounter,
    /// The sum is too large, or too small.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// There is a value, and it is not what was written.
    #[error("the value's seal is broken")]
    Seal,
    /// It took longer than the caller waits.
    #[error("the store gave no answer in time")]
    Slow,
    /// More writes wait than are held.
    #[error("too many writes wait for the store")]
    Busy,
    /// The file was damaged, or the disk does not take writes.
    #[error("the store does not work")]
    Down,
    /// The file failed under this operation.
    #[error("the store failed")]
    Storage(#[from] redb::StorageError),
}

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// One space of the store, and how much it may have.
#[derive(Clone)]
pub struct Space {
    store: Store,
    name: Arc<str>,
    quota: Quota,
}

/// Whose space it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The plugin of a target, in one cloud.
    Target(CloudName, TargetName),
}

/// What the store's handles and its writer have in common.
struct Shared {
    place: Place,
    keys: Keys,
    /// Where they came from.
    key_files: Vec<PathBuf>,
    limit_bytes: u64,
    state: Mutex<State>,
    mailbox: Mailbox,
    reads: Arc<Semaphore>,
    /// The spaces that somebody uses, for the metrics.
    owners: Mutex<Vec<Owner>>,
}

/// What changes.
struct State {
    database: Condition,
    usage: Usage,
    /// Commits and openings that failed.
    failures: u64,
}

enum Condition {
    Works(Arc<Database>),
    /// It failed, and may be opened again.
    Failed,
    /// It was damaged and set aside, or the end has come. Nothing opens it again in this process.
    Closed,
}

impl Store {
    /// Opens the store, or makes it. A damaged file is reported and set aside, and every operation is then refused.
    ///
    /// # Errors
    ///
    /// Whatever the operator has to see to first.
    pub fn open(config: &config::State) -> Result<Self, OpenError> {
        let place = Place::enter(&config.path)?;
        let keys = place.keys(config)?;
        let key_files = config.key_files();
        let (database, usage) = match place.open_or_make(&keys, &key_files)? {
            Found::Store(database, usage) => (Condition::Works(Arc::new(database)), usage),
            Found::SetAside(damaged) => {
                tracing::error!(
                    "the state was damaged, and what is left of it is {}: plugins are refused their state until a backup \
                     is put in its old place, {}, or the damaged file is moved elsewhere, which begins anew with nothing \
                     kept; then restart",
                    damaged.display(),
                    config.path.display(),
                );
                (Condition::Closed, Usage::default())
            }
        };
        let (mailbox, work) = Mailbox::new();
        let shared = Arc::new(Shared {
            place,
            keys,
            key_files,
            limit_bytes: config.bytes.get(),
            state: Mutex::new(State {
                database,
                usage,
                failures: 0,
            }),
            mailbox,
            reads: Arc::new(Semaphore::new(READS)),
            owners: Mutex::default(),
        });
        writer::start(&shared, work).map_err(|source| OpenError::Io {
            path: config.path.clone(),
            source,
        })?;
        Ok(Self(shared))
    }

    /// Looks at the directory and the keys, and makes nothing: the store may be in use.
    ///
    /// # Errors
    ///
    /// What would keep it from being opened, as far as that can be seen.
    pub fn check(config: &config::State) -> Result<(), OpenError> {
        Place::check(config)
    }

    /// The space of this owner.
    pub fn space(&self, owner: Owner, quota: Quota) -> Space {
        let name = owner.name().into();
        let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if !owners.contains(&owner) {
            owners.push(owner);
        }
        Space {
            store: self.clone(),
            name,
            quota,
        }
    }

    /// What the metrics tell of it.
    pub fn gauges(&self) -> Gauges {
        Gauges(Some(self.clone()))
    }

    /// Ends the writer after the commit that is under way, and closes the file. Not to be called on a runtime's worker.
    pub fn close(&self) {
        if self.0.mailbox.close(LAST_COMMIT).is_err() {
            tracing::warn!("the state's last commit was still under way at the end");
        }
    }

    /// Runs something on the writer's thread, within the next transaction. Its answer comes after the commit.
    async fn write<T: Send + 'static>(
        &self,
        deadline: Instant,
        run: impl FnOnce(&mut Tables<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.mailbox.post(Job::new(reply, run))?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The writer has dropped it with the transaction that it was part of.
            Ok(Err(_dropped)) => Err(Error::Down),
            Err(_elapsed) => Err(Error::Slow),
        }
    }

    /// Runs something on the last committed state.
    async fn read<T: Send + 'static>(
        &self,
        deadline: Instant,
        run: impl FnOnce(&Entries, &Keys) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.0.clone();
        let reading = async {
            let permit = shared.reads.clone().acquire_owned().await;
            let database = shared.database().ok_or(Error::Down)?;
            let look = move || {
                let _permit = permit;
                let transaction = database.begin_read().map_err(storage)?;
                let entries = transaction.open_table(ENTRIES).map_err(storage)?;
                run(&entries, &shared.keys)
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(Err(Error::Storage(error))) => Err(self.doubt(error)),
                Ok(answer) => answer,
                Err(_panicked) => Err(Error::Down),
            }
        };
        tokio::time::timeout_at(deadline, reading)
            .await
            .unwrap_or(Err(Error::Slow))
    }

    fn doubt(&self, error: redb::StorageError) -> Error {
        tracing::error!("the state cannot be read: {error}");
        self.0.fail();
        Error::Down
    }
}

type Entries = ReadOnlyTable<(&'static str, &'static str), (u64, u64, &'static [u8])>;

fn storage(error: impl Into<redb::Error>) -> Error {
    let storage = match error.into() {
        redb::Error::Io(error) => redb::StorageError::Io(error),
        redb::Error::PreviousIo => redb::StorageError::PreviousIo,
        redb::Error::DatabaseClosed => redb::StorageError::DatabaseClosed,
        error => redb::StorageError::Corrupted(error.to_string()),
    };
    Error::Storage(storage)
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Option<Arc<Database>> {
        match &self.state().database {
            Condition::Works(database) => Some(database.clone()),
            Condition::Failed | Condition::Closed => None,
        }
    }

    /// Takes the file out of use, until the writer has opened it again.
    fn fail(&self) {
        let mut state = self.state();
        state.failures += 1;
        if matches!(state.database, Condition::Works(_)) {
            state.database = Condition::Failed;
        }
    }
}

impl Owner {
    /// Parts of names have no `/`, so that no two owners have the same.
    fn name(&self) -> String {
        match self {
            Self::Target(cloud, target) => format!("target/{cloud}/{target}"),
        }
    }
}

impl Space {
    /// What the key has.
    ///
    /// # Errors
    ///
    /// When that cannot be said.
    pub async fn get(&self, key: &str, deadline: Instant) -> Result<Option<Entry>, Error> {
        let (space, key) = (self.name.clone(), valid(key)?.to_owned());
        self.store
            .read(deadline, move |entries, keys| {
                tables::get(entries, keys, &space, &key, now_ms())
            })
            .await
    }

    /// Writes a value over revision `expected`, or over whatever is there, and says the new revision. An `expected` of 0
    /// is that of a key that has nothing.
    ///
    /// # Errors
    ///
    /// When it was not written, or nobody knows yet.
    pub async fn set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        deadline: Instant,
    ) -> Result<u64, Error> {
        let (space, quota, key) = (self.name.clone(), self.quota, valid(key)?.to_owned());
        self.store
            .write(deadline, move |tables| {
                tables.set(&space, quota, &key, expected, &value, ttl_ms)
            })
            .await
    }

    /// Deletes what the key has, at revision `expected` only when one is given.
    ///
    /// # Errors
    ///
    /// When it was not deleted, or nobody knows yet.
    pub async fn delete(
        &self,
        key: &str,
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let (space, key) = (self.name.clone(), valid(key)?.to_owned());
        self.store
            .write(deadline, move |tables| {
                tables.delete(&space, &key, expected)
            })
            .await
    }

    /// Deletes all keys that begin with this, in one transaction, and says how many there were. It takes as long as there
    /// are such keys, however many others there are.
    ///
    /// # Errors
    ///
    /// When they were not deleted, or nobody knows yet.
    pub async fn delete_prefix(&self, prefix: &str, deadline: Instant) -> Result<u64, Error> {
        let (space, prefix) = (self.name.clone(), valid(prefix)?.to_owned());
        self.store
            .write(deadline, move |tables| {
                tables.delete_prefix(&space, &prefix)
            })
            .await
    }

    /// Adds to a number, and says the sum. `ttl_ms` is for one that begins here.
    ///
    /// # Errors
    ///
    /// When nothing was added, or nobody knows yet.
    pub async fn increment(
        &self,
        key: &str,
        delta: i64,
        ttl_ms: Option<u64>,
        deadline: Instant,
    ) -> Result<i64, Error> {
        let (space, quota, key) = (self.name.clone(), self.quota, valid(key)?.to_owned());
        self.store
            .write(deadline, move |tables| {
                tables.increment(&space, quota, &key, delta, ttl_ms)
            })
            .await
    }

    /// Keys that begin with `prefix`, in order and after `cursor`, and the cursor for the next ones when there are more.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn list_keys(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
        deadline: Instant,
    ) -> Result<Listing, Error> {
        if !prefix.is_empty() {
            valid(prefix)?;
        }
        let cursor = cursor.map(valid).transpose()?.map(str::to_owned);
        let (space, prefix) = (self.name.clone(), prefix.to_owned());
        let limit = limit.min(MOST_LISTED) as usize;
        self.store
            .read(deadline, move |entries, _keys| {
                tables::list(entries, &space, &prefix, cursor.as_deref(), limit, now_ms())
            })
            .await
    }
}

fn valid(key: &str) -> Result<&str, Error> {
    if key.is_empty() || key.len() > KEY_BYTES || key.contains(char::is_control) {
        return Err(Error::InvalidKey);
    }
    Ok(key)
}

/// An expiry has to mean the same after a restart, so that it is told by the clock on the wall.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
