//! What is in the file, and what each operation does to it, within one transaction and at one time.
//!
//! Three tables. `entries` has the values; `expiries` has the same keys by the time at which they expire, so that the
//! sweep finds them; `revisions` has the last revision of each space, which outlives its entries: a revision that was told
//! once is never told again, and compare-and-set cannot mistake a new entry for the one that was there before.
//!
//! An entry that has expired is absent to everybody, whether it was swept or not.

use redb::{ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};

use super::Error;
use super::seal::{Bound, Keys, SEAL_BYTES};
use super::usage::{Quota, Usage, Used};

type ByKey<'a> = (&'a str, &'a str);
type ByExpiry<'a> = (&'a str, u64, &'a str);
/// Revision, expiry (`NEVER`, or milliseconds since the Unix epoch), sealed value.
type Sealed<'a> = (u64, u64, &'a [u8]);

pub(super) const ENTRIES: TableDefinition<'_, ByKey<'_>, Sealed<'_>> =
    TableDefinition::new("entries");
pub(super) const EXPIRIES: TableDefinition<'_, ByExpiry<'_>, ()> = TableDefinition::new("expiries");
pub(super) const REVISIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("revisions");

/// The expiry of what does not expire. It sorts after every time.
pub(super) const NEVER: u64 = u64::MAX;

/// Entries that one sweep removes: others wait for the transaction to end.
const SWEEP: usize = 500;

/// Entries that one listing looks at, expired ones among them.
const SCAN: usize = 10_000;

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Unlike that of any earlier write of the key.
    pub revision: u64,
    /// How long it is still there; for ever when none.
    pub ttl_ms: Option<u64>,
}

/// Some keys in order, and where to go on.
pub type Listing = (Vec<String>, Option<String>);

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    entries: Table<'t, ByKey<'static>, Sealed<'static>>,
    expiries: Table<'t, ByExpiry<'static>, ()>,
    revisions: Table<'t, &'static str, u64>,
    keys: &'t Keys,
    usage: &'t mut Usage,
    limit_bytes: u64,
    now_ms: u64,
    /// Whether there is anything to commit.
    changed: bool,
}

/// An entry as it stands in the table, expired or not.
struct Found {
    revision: u64,
    expires_ms: u64,
    bytes: u64,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        keys: &'t Keys,
        usage: &'t mut Usage,
        limit_bytes: u64,
        now_ms: u64,
    ) -> Result<Self, redb::TableError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            expiries: transaction.open_table(EXPIRIES)?,
            revisions: transaction.open_table(REVISIONS)?,
            keys,
            usage,
            limit_bytes,
            now_ms,
            changed: false,
        })
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Writes over `expected`, or over whatever is there.
    pub(super) fn set(
        &mut self,
        space: &str,
        quota: Quota,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<u64, Error> {
        self.expect(space, key, expected)?;
        self.put(space, quota, key, value, self.expiry(ttl_ms))
    }

    /// Deletes `expected`, or whatever is there.
    pub(super) fn delete(
        &mut self,
        space: &str,
        key: &str,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        self.expect(space, key, expected)?;
        self.remove(space, key)?;
        Ok(())
    }

    /// Deletes all keys that begin with this, and says how many there were.
    pub(super) fn delete_prefix(&mut self, space: &str, prefix: &str) -> Result<u64, Error> {
        let mut keys = Vec::new();
        for entry in self.entries.range((space, prefix)..)? {
            let (place, _) = entry?;
            let (owner, key) = place.value();
            if owner != space || !key.starts_with(prefix) {
                break;
            }
            keys.push(key.to_owned());
        }
        for key in &keys {
            self.remove(space, key)?;
        }
        Ok(keys.len() as u64)
    }

    /// Adds to a decimal number. `ttl_ms` is for a counter that begins here.
    pub(super) fn increment(
        &mut self,
        space: &str,
        quota: Quota,
        key: &str,
        delta: i64,
        ttl_ms: Option<u64>,
    ) -> Result<i64, Error> {
        let entry = get(&self.entries, self.keys, space, key, self.now_ms)?;
        let before = match &entry {
            Some(entry) => std::str::from_utf8(&entry.value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(Error::NoCounter)?,
            None => 0_i64,
        };
        let sum = before.checked_add(delta).ok_or(Error::Overflow)?;
        let expires_ms = match self.find(space, key)? {
            Some(found) if entry.is_some() => found.expires_ms,
            _ => self.expiry(ttl_ms),
        };
        self.put(space, quota, key, sum.to_string().as_bytes(), expires_ms)?;
        Ok(sum)
    }

    /// Removes expired entries of all spaces, some of them; says whether there may be more.
    pub(super) fn sweep(&mut self) -> Result<bool, Error> {
        let mut left = SWEEP;
        for space in self.usage.spaces() {
            left -= self.purge(&space, left)?;
            if left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn expiry(&self, ttl_ms: Option<u64>) -> u64 {
        ttl_ms.map_or(NEVER, |ttl_ms| {
            self.now_ms.saturating_add(ttl_ms).min(NEVER - 1)
        })
    }

    fn find(&self, space: &str, key: &str) -> Result<Option<Found>, StorageError> {
        let entry = self.entries.get((space, key))?;
        Ok(entry.map(|entry| {
            let (revision, expires_ms, sealed) = entry.value();
            Found {
                revision,
                expires_ms,
                bytes: (key.len() + sealed.len().saturating_sub(SEAL_BYTES)) as u64,
            }
        }))
    }

    /// Fails unless the key is at this revision; 0 is that of an absent one.
    fn expect(&self, space: &str, key: &str, expected: Option<u64>) -> Result<(), Error> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let found = self.find(space, key)?;
        let present = found.filter(|found| found.expires_ms > self.now_ms);
        let revision = present.map_or(0, |found| found.revision);
        if revision == expected {
            Ok(())
        } else {
            Err(Error::Conflict(revision))
        }
    }

    fn put(
        &mut self,
        space: &str,
        quota: Quota,
        key: &str,
        value: &[u8],
        expires_ms: u64,
    ) -> Result<u64, Error> {
        if value.len() > quota.value_bytes {
            return Err(Error::Quota);
        }
        self.make_room(space, quota, key, value.len())?;
        let before = self.revisions.get(space)?.map_or(0, |last| last.value());
        let revision = before + 1;
        let bound = Bound {
            space,
            key,
            revision,
            expires_ms,
        };
        let sealed = self
            .keys
            .seal(bound, value)
            .map_err(|_broken| Error::Seal)?;
        self.remove(space, key)?;
        self.revisions.insert(space, revision)?;
        self.entries
            .insert((space, key), (revision, expires_ms, &*sealed))?;
        if expires_ms != NEVER {
            self.expiries.insert((space, expires_ms, key), ())?;
        }
        self.usage.add(space, (key.len() + value.len()) as u64);
        self.changed = true;
        Ok(revision)
    }

    /// Expired entries do not count, and leave at the latest when their room is needed.
    fn make_room(
        &mut self,
        space: &str,
        quota: Quota,
        key: &str,
        value_bytes: usize,
    ) -> Result<(), Error> {
        let new = (key.len() + value_bytes) as u64;
        if self.fits(space, quota, key, new)? {
            return Ok(());
        }
        self.purge(space, usize::MAX)?;
        if self.fits(space, quota, key, new)? {
            return Ok(());
        }
        if !self.fits_quota(space, quota, key, new)? {
            return Err(Error::Quota);
        }
        for other in self.usage.spaces() {
            self.purge(&other, usize::MAX)?;
        }
        if self.fits(space, quota, key, new)? {
            Ok(())
        } else {
            Err(Error::Full)
        }
    }

    fn fits(&self, space: &str, quota: Quota, key: &str, new: u64) -> Result<bool, StorageError> {
        let old = self.find(space, key)?.map_or(0, |found| found.bytes);
        let total = self.usage.total_bytes() - old + new;
        let within = total <= self.limit_bytes || new <= old;
        Ok(within && self.fits_quota(space, quota, key, new)?)
    }

    /// What becomes no more is always let in: a quota may have been lowered.
    fn fits_quota(
        &self,
        space: &str,
        quota: Quota,
        key: &str,
        new: u64,
    ) -> Result<bool, StorageError> {
        let used = self.usage.of(space);
        let (old_keys, old) = self
            .find(space, key)?
            .map_or((0, 0), |found| (1, found.bytes));
        let after = Used {
            keys: used.keys - old_keys + 1,
            bytes: used.bytes - old + new,
        };
        let keys = after.keys <= quota.keys || old_keys == 1;
        let bytes = after.bytes <= quota.bytes || new <= old;
        Ok(keys && bytes)
    }

    fn remove(&mut self, space: &str, key: &str) -> Result<(), StorageError> {
        let Some(found) = self.find(space, key)? else {
            return Ok(());
        };
        self.entries.remove((space, key))?;
        if found.expires_ms != NEVER {
            self.expiries.remove((space, found.expires_ms, key))?;
        }
        self.usage.subtract(space, found.bytes);
        self.changed = true;
        Ok(())
    }

    /// Removes expired entries of one space, the oldest first, and says how many.
    fn purge(&mut self, space: &str, most: usize) -> Result<usize, StorageError> {
        let mut expired = Vec::new();
        let until = (space, self.now_ms.saturating_add(1), "");
        for expiry in self.expiries.range((space, 0, "")..until)?.take(most) {
            let (place, ()) = {
                let (place, _) = expiry?;
                (place, ())
            };
            expired.push(place.value().2.to_owned());
        }
        for key in &expired {
            self.remove(space, key)?;
        }
        Ok(expired.len())
    }
}

/// What a key has now.
pub(super) fn get(
    entries: &impl ReadableTable<ByKey<'static>, Sealed<'static>>,
    keys: &Keys,
    space: &str,
    key: &str,
    now_ms: u64,
) -> Result<Option<Entry>, Error> {
    let Some(entry) = entries.get((space, key))? else {
        return Ok(None);
    };
    let (revision, expires_ms, sealed) = entry.value();
    if expires_ms <= now_ms {
        return Ok(None);
    }
    let bound = Bound {
        space,
        key,
        revision,
        expires_ms,
    };
    let value = keys.open(bound, sealed).map_err(|_broken| Error::Seal)?;
    Ok(Some(Entry {
        value,
        revision,
        ttl_ms: (expires_ms != NEVER).then(|| expires_ms - now_ms),
    }))
}

/// Keys that begin with `prefix`, after `cursor`.
pub(super) fn list(
    entries: &impl ReadableTable<ByKey<'static>, Sealed<'static>>,
    space: &str,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
    now_ms: u64,
) -> Result<Listing, Error> {
    let mut keys: Vec<String> = Vec::new();
    if limit == 0 {
        return Ok((keys, None));
    }
    let start = cursor.map_or(prefix, |cursor| cursor.max(prefix));
    let mut looked_at = 0;
    let mut last = None;
    for entry in entries.range((space, start)..)? {
        let (place, entry) = entry?;
        let (owner, key) = place.value();
        if owner != space || !key.starts_with(prefix) {
            break;
        }
        if cursor.is_some_and(|cursor| key <= cursor) {
            continue;
        }
        if looked_at == SCAN {
            return Ok((keys, last));
        }
        looked_at += 1;
        let expired = entry.value().1 <= now_ms;
        if !expired && keys.len() == limit {
            return Ok((keys, last));
        }
        last = Some(key.to_owned());
        if !expired {
            keys.push(key.to_owned());
        }
    }
    Ok((keys, None))
}
