//! What makes a file a store: how one is begun, and what must hold before one is used.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};

use super::{Error, beside, sync_directory};
use crate::state::seal::{Bound, Broken, Keys, SEAL_BYTES};
use crate::state::tables::{ENTRIES, EXPIRIES, REVISIONS};
use crate::state::usage::Usage;

/// The form of the tables that this gateway writes. It opens every earlier one.
pub(super) const FORMAT: u64 = 1;

/// About the file itself: its format, and a sealed text that shows whether a key fits before anything is asked of it.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const SEAL_KEY: &str = "seal";

/// What that text is bound to. No space is called so.
const OWN_SEAL: Bound<'static> = Bound {
    space: "",
    key: "",
    revision: 0,
    expires_ms: 0,
};

/// Pages that are kept in memory.
const CACHE_BYTES: usize = 16 << 20;

/// Why a file cannot be opened.
pub(super) enum Failure {
    /// Somebody has to do something first.
    Refused(Error),
    /// It is no store, or one that holds something else than was written.
    Damaged(String),
}

/// Why a file that redb can read cannot be used.
enum Rejected {
    NoStore,
    Newer(u64),
    WrongKey,
    Seal(Broken),
}

/// Makes an empty store. It gets its name when it is whole.
pub(super) fn make(path: &Path, keys: &Keys) -> Result<(), Error> {
    let unfinished = beside(path, "new");
    let io = |source| Error::Io {
        path: unfinished.clone(),
        source,
    };
    // Left behind by a process that was killed here.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    drop(options.open(&unfinished).map_err(io)?);
    let seal = keys
        .seal(OWN_SEAL, b"")
        .map_err(|_no_randomness| io(ErrorKind::Other.into()))?;
    let fill = || -> Result<(), redb::Error> {
        let database = builder().create(&unfinished)?;
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(FORMAT_KEY, &FORMAT.to_be_bytes()[..])?;
            meta.insert(SEAL_KEY, &*seal)?;
            transaction.open_table(ENTRIES)?;
            transaction.open_table(EXPIRIES)?;
            transaction.open_table(REVISIONS)?;
        }
        transaction.commit()?;
        database.close()?;
        Ok(())
    };
    fill().map_err(|source| Error::Storage {
        path: unfinished.clone(),
        source,
    })?;
    std::fs::rename(&unfinished, path).map_err(io)?;
    sync_directory(path).map_err(io)
}

/// Opens a store after reading it through, and counts what is in it.
pub(super) fn open(
    path: &Path,
    keys: &Keys,
    key_files: &[PathBuf],
) -> Result<(Database, Usage), Failure> {
    let opened = || -> Result<Result<(Database, Usage), Rejected>, redb::Error> {
        let database = builder().open(path)?;
        if let Err(rejected) = check_format(&database)? {
            return Ok(Err(rejected));
        }
        let usage = admit(&database, keys)?;
        Ok(usage.map(|usage| (database, usage)))
    };
    let path = path.to_owned();
    match opened() {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(Rejected::NoStore)) => Err(Failure::Damaged("it is no store".to_owned())),
        Ok(Err(Rejected::Seal(broken))) => Err(Failure::Damaged(broken.to_string())),
        Ok(Err(Rejected::Newer(found))) => Err(Failure::Refused(Error::Newer {
            path,
            found: found.to_string(),
        })),
        Ok(Err(Rejected::WrongKey)) => {
            let keys = key_files.iter().map(|path| path.display().to_string());
            let keys: Vec<_> = keys.collect();
            Err(Failure::Refused(Error::WrongKey {
                path,
                keys: keys.join(", "),
            }))
        }
        Err(error) => Err(failure(path, error)),
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_check_integrity_on_open(true);
    builder
}

/// Before any other table is opened: a later version may have changed them.
fn check_format(database: &Database) -> Result<Result<(), Rejected>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Err(Rejected::NoStore)),
        Err(error) => return Err(error.into()),
    };
    let format = meta.get(FORMAT_KEY)?;
    let format = format.and_then(|format| format.value().try_into().ok());
    Ok(match format.map(u64::from_be_bytes) {
        Some(FORMAT) => Ok(()),
        Some(later) if later > FORMAT => Err(Rejected::Newer(later)),
        _ => Err(Rejected::NoStore),
    })
}

/// Counts the entries, and seals anew what an older key has sealed, so that the older key can be taken away after.
fn admit(database: &Database, keys: &Keys) -> Result<Result<Usage, Rejected>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    let mut usage = Usage::default();
    let mut older = Vec::new();
    let newest;
    {
        let mut meta = transaction.open_table(META)?;
        let mut entries = transaction.open_table(ENTRIES)?;
        let Some(seal) = meta.get(SEAL_KEY)?.map(|seal| seal.value().to_vec()) else {
            return Ok(Err(Rejected::NoStore));
        };
        match keys.is_newest(&seal) {
            Some(is_newest) => newest = is_newest,
            None => return Ok(Err(Rejected::WrongKey)),
        }
        if let Err(broken) = keys.open(OWN_SEAL, &seal) {
            return Ok(Err(Rejected::Seal(broken)));
        }
        for entry in entries.iter()? {
            let (place, entry) = entry?;
            let ((space, key), (_, _, sealed)) = (place.value(), entry.value());
            let value_bytes = sealed.len().saturating_sub(SEAL_BYTES);
            usage.add(space, (key.len() + value_bytes) as u64);
            match keys.is_newest(sealed) {
                Some(true) => {}
                Some(false) => older.push((space.to_owned(), key.to_owned())),
                None => return Ok(Err(Rejected::WrongKey)),
            }
        }
        for (space, key) in &older {
            let place = (space.as_str(), key.as_str());
            let entry = entries.get(place)?.map(|entry| {
                let (revision, expires_ms, sealed) = entry.value();
                (revision, expires_ms, sealed.to_vec())
            });
            let Some((revision, expires_ms, sealed)) = entry else {
                continue;
            };
            let bound = Bound {
                space,
                key,
                revision,
                expires_ms,
            };
            let resealed = keys.open(bound, &sealed);
            match resealed.and_then(|value| keys.seal(bound, &value)) {
                Ok(sealed) => entries.insert(place, (revision, expires_ms, &*sealed))?,
                Err(broken) => return Ok(Err(Rejected::Seal(broken))),
            };
        }
        if !newest {
            match keys.seal(OWN_SEAL, b"") {
                Ok(seal) => meta.insert(SEAL_KEY, &*seal)?,
                Err(broken) => return Ok(Err(Rejected::Seal(broken))),
            };
        }
    }
    if newest && older.is_empty() {
        transaction.abort()?;
    } else {
        transaction.commit()?;
        tracing::info!(
            entries = older.len(),
            "the state is sealed with the new key"
        );
    }
    Ok(Ok(usage))
}

/// What an error of redb's says of the file.
fn failure(path: PathBuf, error: redb::Error) -> Failure {
    match error {
        redb::Error::DatabaseAlreadyOpen => Failure::Refused(Error::InUse(path)),
        redb::Error::UpgradeRequired(version) => Failure::Damaged(format!(
            "it is of redb's file format {version}, which no gateway has written"
        )),
        // The one sign that a later redb has written it, which is not to be taken for damage.
        redb::Error::Corrupted(found) if found.starts_with("Expected file format version") => {
            Failure::Refused(Error::Newer { path, found })
        }
        redb::Error::Corrupted(reason) => Failure::Damaged(reason),
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            Failure::Damaged(error.to_string())
        }
        redb::Error::Io(source) => Failure::Refused(Error::Io { path, source }),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_)) => Failure::Damaged(error.to_string()),
        source => Failure::Refused(Error::Storage { path, source }),
    }
}
