//! The file: whose it is, how it is made and opened, and what becomes of a damaged one.
//!
//! A new store is written under another name and gets its own when it is whole, so that a file of that name is always a
//! store or a damaged one. Each opening reads the file through: every page has a checksum, and what fails is found before
//! a plugin asks for it.
//!
//! A damaged file is renamed and never replaced by an empty one: a plugin that kept the password it had issued, and finds
//! nothing, would issue a second. The store stays closed until the operator decides: put a backup in its place, or move
//! the damaged file away to begin anew.

mod format;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::Database;
use time::OffsetDateTime;

use self::format::{FORMAT, Failure};
use super::seal::{self, Keys};
use super::usage::Usage;
use crate::config;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory, or a file in it, is not there or not ours.
    #[error("{path} cannot be used")]
    Io {
        /// What.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Anybody could put another file in its place.
    #[error(
        "anybody on this machine can write into the directory {0}: take that away, `chmod o-w`, or choose another"
    )]
    Exposed(PathBuf),
    /// Another gateway has it.
    #[error("another process is using {0}: each gateway needs a file of its own")]
    InUse(PathBuf),
    /// It was written by a later version.
    #[error(
        "{path} is of format {found}, and this gateway knows {FORMAT}: a later version wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] seal::Error),
    /// The keys are others than those that it was sealed with.
    #[error(
        "{path} was sealed with a key that is not among {keys}: list that key too, after the one that shall seal from now on"
    )]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// Where the keys came from.
        keys: String,
    },
    /// The key that was made for it is gone.
    #[error(
        "{path} was sealed with the key in {key}, which is not there: put it back, or move {path} away to begin anew"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Where the key was.
        key: PathBuf,
    },
    /// Reading or writing it failed.
    #[error("{path} cannot be opened")]
    Storage {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: redb::Error,
    },
}

/// A file, which no other process uses while this lives.
pub(super) struct Place {
    path: PathBuf,
    _lock: File,
}

/// What a place has.
pub(super) enum Found {
    /// A store, whole.
    Store(Database, Usage),
    /// A store that was damaged, and is now here. Nothing stands in its place.
    SetAside(PathBuf),
}

impl Place {
    /// Whether a store can be in this place and be opened, as far as that can be seen while another process has it.
    pub(super) fn check(config: &config::State) -> Result<(), Error> {
        check_directory(&config.path)?;
        let own = config.own_key_file();
        if config.key_file.is_empty() && !own.exists() {
            return lost_key(&config.path, own);
        }
        Keys::read(&config.key_files())?;
        Ok(())
    }

    /// Locks the place. Makes no store.
    pub(super) fn enter(path: &Path) -> Result<Self, Error> {
        check_directory(path)?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let lock_path = beside(path, "lock");
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(&lock_path)(error)),
        }
    }

    /// The keys: those configured, or one beside the store, which is made together with it.
    pub(super) fn keys(&self, config: &config::State) -> Result<Keys, Error> {
        let own = config.own_key_file();
        if config.key_file.is_empty() && !own.exists() {
            lost_key(&self.path, own.clone())?;
            Keys::make(&own)?;
        }
        if config.key_file.is_empty() {
            make_private(&own)?;
        }
        Ok(Keys::read(&config.key_files())?)
    }

    /// Opens the store, making it first where there never was one.
    pub(super) fn open_or_make(&self, keys: &Keys, key_files: &[PathBuf]) -> Result<Found, Error> {
        if !self.path.exists() {
            if let Some(damaged) = self.set_aside_before()? {
                return Ok(Found::SetAside(damaged));
            }
            format::make(&self.path, keys)?;
        }
        self.open(keys, key_files)
    }

    /// Opens the store that is there.
    pub(super) fn open(&self, keys: &Keys, key_files: &[PathBuf]) -> Result<Found, Error> {
        make_private(&self.path)?;
        // redb checks what it reads and may still panic on a file that nobody's redb has written.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            format::open(&self.path, keys, key_files)
        }));
        let reason = match opened {
            Ok(Ok((database, usage))) => return Ok(Found::Store(database, usage)),
            Ok(Err(Failure::Refused(error))) => return Err(error),
            Ok(Err(Failure::Damaged(reason))) => reason,
            Err(_panic) => "reading it failed".to_owned(),
        };
        let damaged = self.set_aside(&reason)?;
        Ok(Found::SetAside(damaged))
    }

    fn set_aside(&self, reason: &str) -> Result<PathBuf, Error> {
        let now = OffsetDateTime::now_utc();
        let (date, (hour, minute, second)) = (now.date(), now.to_hms());
        let extension = format!("damaged-{date}T{hour:02}-{minute:02}-{second:02}Z");
        let damaged = beside(&self.path, &extension);
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        std::fs::rename(&self.path, &damaged).map_err(io)?;
        sync_directory(&self.path).map_err(io)?;
        tracing::error!(
            reason,
            "the state in {} is damaged and was set aside",
            self.path.display()
        );
        Ok(damaged)
    }

    /// A file that was set aside, now or at an earlier start.
    pub(super) fn set_aside_before(&self) -> Result<Option<PathBuf>, Error> {
        let directory = directory(&self.path);
        let io = |source| Error::Io {
            path: directory.to_owned(),
            source,
        };
        let prefix = beside(&self.path, "damaged-");
        let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if name.as_encoded_bytes().starts_with(prefix) {
                found.push(directory.join(name));
            }
        }
        Ok(found.into_iter().max())
    }
}

impl Error {
    /// The key of `[state]` that it concerns.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Key(_) | Self::WrongKey { .. } => "key_file",
            _ => "path",
        }
    }

    /// Whether the next start, without any change, may go better.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::Storage { .. })
    }
}

fn check_directory(path: &Path) -> Result<(), Error> {
    let directory = directory(path);
    let metadata = std::fs::metadata(directory).map_err(|source| Error::Io {
        path: directory.to_owned(),
        source,
    })?;
    if metadata.permissions().mode() & 0o002 != 0 {
        return Err(Error::Exposed(directory.to_owned()));
    }
    Ok(())
}

/// A file that came back from a backup may have lost its mode.
fn make_private(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)
}

/// Fails when there is a store, and so must have been this key.
fn lost_key(path: &Path, key: PathBuf) -> Result<(), Error> {
    if path.exists() {
        let path = path.to_owned();
        return Err(Error::NoKey { path, key });
    }
    Ok(())
}

/// The path with `.extension` after its name.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(extension);
    name.into()
}

/// Makes a new name of a file in this file's directory last.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}
