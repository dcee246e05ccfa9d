//! Where a secret is read from. The configuration file itself never holds one.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;

/// Far more than a password, and enough for a chain of certificates with its key.
const LONGEST_FILE_BYTES: u64 = 64 * 1024;

/// `{ file = "/path" }` or `{ env = "NAME" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A file; one newline at its end is not part of the secret.
    File(PathBuf),
    /// An environment variable of the gateway.
    Env(String),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not ours to read.
    #[error("the secret file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A directory, or a pipe: the gateway would wait for somebody to write to it.
    #[error("the secret file {0} is not a regular file")]
    NoFile(PathBuf),
    /// Nobody has such a password.
    #[error("the secret file {0} has more than {LONGEST_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// An empty password is a mistake, not a password.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// It is to be a password, and is not in UTF-8.
    #[error("the secret in {0} is no text")]
    NoText(String),
}

impl SecretSource {
    /// Reads a secret that is text.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn read(&self) -> Result<SecretString, Error> {
        let bytes = self.read_bytes()?;
        match std::str::from_utf8(bytes.expose_secret()) {
            Ok(text) => Ok(text.into()),
            // Its text would repeat nothing, and say nothing that is of use.
            Err(_at) => Err(Error::NoText(self.to_string())),
        }
    }

    /// Reads a secret that may be anything, such as a key for signatures.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn read_bytes(&self) -> Result<SecretSlice<u8>, Error> {
        let bytes = Zeroizing::new(match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => std::env::var_os(name)
                .ok_or_else(|| Error::Unset(name.clone()))?
                .into_vec(),
        });
        let mut secret = &bytes[..];
        if let Self::File(_) = self {
            let end = secret.strip_suffix(b"\n").unwrap_or(secret);
            secret = end.strip_suffix(b"\r").unwrap_or(end);
        }
        if secret.is_empty() {
            return Err(Error::Empty(self.to_string()));
        }
        Ok(secret.to_vec().into())
    }

    /// The file, if it is one: it may change. A process's environment does not.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }

    /// That others than the file's owner and group get at it. What cannot be looked at is told when it is read.
    pub fn warning(&self) -> Option<String> {
        let path = self.file()?;
        let mode = fs::metadata(path).ok()?.mode() & 0o777;
        let done = match (mode & 0o004 != 0, mode & 0o022 != 0) {
            (true, true) => "read and replaced by others",
            (true, false) => "read by every user of this machine",
            (false, true) => "replaced by others than its owner",
            (false, false) => return None,
        };
        let path = path.display();
        Some(format!(
            "the secret file {path} can be {done} (mode {mode:04o}): `chmod 0640` or less"
        ))
    }

    pub(super) fn resolve_path(&mut self, directory: &Path) {
        if let Self::File(path) = self {
            *path = directory.join(&*path);
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::NoFile(path.to_owned()));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let room = metadata.len().min(LONGEST_FILE_BYTES) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(room).unwrap_or_default(),
    ));
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST_FILE_BYTES {
        return Err(Error::TooLong(path.to_owned()));
    }
    Ok(std::mem::take(&mut *bytes))
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Env(name) => write!(formatter, "${name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        fs::write(&path, content).expect("a file");
        (directory, SecretSource::File(path))
    }

    #[test]
    fn one_newline_at_the_end_of_a_file_is_not_part_of_the_secret() {
        for (content, secret) in [
            (&b"word\n"[..], &b"word"[..]),
            (b"word\r\n", b"word"),
            (b"word\n\n", b"word\n"),
            (b" word ", b" word "),
            (b"\xff\x00\n", b"\xff\x00"),
        ] {
            let (_directory, source) = file(content);
            let read = source.read_bytes().expect("a secret");
            assert_eq!(read.expose_secret(), secret);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_repeated() {
        let (directory, source) = file(b"\xffhunter2");
        assert!(matches!(source.read(), Err(Error::NoText(_))));
        assert!(
            !source
                .read()
                .expect_err("no text")
                .to_string()
                .contains("hunter2")
        );

        let (_kept, empty) = file(b"\n");
        assert!(matches!(empty.read_bytes(), Err(Error::Empty(_))));
        let (_kept, long) = file(&vec![b'x'; 64 * 1024 + 1]);
        assert!(matches!(long.read_bytes(), Err(Error::TooLong(_))));
        let (_kept, longest) = file(&vec![b'x'; 64 * 1024]);
        assert!(longest.read_bytes().is_ok());
        let nowhere = SecretSource::File(directory.path().to_owned());
        assert!(matches!(nowhere.read_bytes(), Err(Error::NoFile(_))));
    }

    #[test]
    fn a_file_that_others_get_at_is_warned_of() {
        let (_directory, source) = file(b"word");
        let path = source.file().expect("a file");
        for (mode, warned) in [
            (0o600, None),
            (0o640, None),
            (
                0o644,
                Some("read by every user of this machine (mode 0644)"),
            ),
            (0o620, Some("replaced by others than its owner (mode 0620)")),
            (0o666, Some("read and replaced by others (mode 0666)")),
        ] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(path, permissions).expect("it is ours");
            let warning = source.warning();
            assert_eq!(warning.is_some(), warned.is_some(), "{mode:o}");
            let warning = warning.unwrap_or_default();
            assert!(warning.contains(warned.unwrap_or_default()), "{warning}");
        }
    }
}
