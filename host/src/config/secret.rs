//! Where a secret is read from. The configuration file itself never holds one.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

/// `{ file = "/path" }` or `{ env = "NAME" }`.
#[derive(Debug, Clone, Deserialize)]
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
        source: std::io::Error,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// An empty password is a mistake, not a password.
    #[error("the secret in {0} is empty")]
    Empty(String),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn read(&self) -> Result<SecretString, Error> {
        let secret = match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                let end = text.strip_suffix('\n').unwrap_or(&text);
                end.strip_suffix('\r').unwrap_or(end).to_owned()
            }
            Self::Env(name) => {
                std::env::var(name).map_err(|_not_set| Error::Unset(name.clone()))?
            }
        };
        if secret.is_empty() {
            return Err(Error::Empty(self.to_string()));
        }
        Ok(secret.into())
    }

    pub(super) fn resolve_path(&mut self, directory: &Path) {
        if let Self::File(path) = self {
            *path = directory.join(&*path);
        }
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Env(name) => write!(formatter, "${name}"),
        }
    }
}
