//! The user's cache directory: what takes long to make, and is made once.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// This project's part of it.
pub(crate) fn directory() -> Result<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // The specification says to ignore a relative one.
        .filter(|cache| cache.is_absolute())
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("vendordock");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// The directory of this name in the cache, filled by `make` if that has not been done before.
///
/// It is made where it stays, since a virtual environment cannot be moved, and counts only once it holds the file that is
/// written last.
pub(crate) fn once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let made = directory()?.join(name);
    let complete = made.join("complete");
    if complete.exists() {
        return Ok(made);
    }

    let _lock = lock(&made.with_extension("lock"))?;
    // Whoever held the lock may have made it meanwhile.
    if complete.exists() {
        return Ok(made);
    }
    if made.exists() {
        fs::remove_dir_all(&made)
            .with_context(|| format!("cannot remove the unfinished {}", made.display()))?;
    }
    fs::create_dir(&made).with_context(|| format!("cannot make {}", made.display()))?;
    eprintln!("making {}, once", made.display());
    make(&made)?;
    File::create(&complete).with_context(|| format!("cannot make {}", complete.display()))?;
    Ok(made)
}

/// Stands for all of these in a name.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts are the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Waits until nobody else makes it, and keeps others waiting until the file is dropped. It stays behind, empty: removing it would let two in.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for what another cargo xtask is making");
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    locked.with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");

        let first = lock(&path).unwrap();
        let second = File::create(&path).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));

        drop(first);
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn what_differs_anywhere_has_another_name() {
        let name = |parts: &[&str]| digest(parts.iter().map(|part| part.as_bytes()));

        assert_eq!(name(&["ab", "c"]), name(&["ab", "c"]));
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_ne!(name(&["ab"]), name(&["ab", ""]));
    }
}
