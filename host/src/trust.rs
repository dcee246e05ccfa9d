//! Whose certificates are trusted, where an operator names an authority of his own.

use std::path::{Path, PathBuf};

use reqwest::Certificate;

/// Why a `ca_file` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not ours to read.
    #[error("ca_file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// What stands in it is damaged.
    #[error("ca_file {path} holds a damaged certificate")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: reqwest::Error,
    },
    /// Nothing stands in it. Then nobody would be trusted, and every connection would fail with a puzzle.
    #[error("ca_file {path} holds no certificate in PEM")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The certificates of a PEM file.
///
/// # Errors
///
/// When there are none.
pub fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    let owned = || path.to_owned();
    let pem = std::fs::read(path).map_err(|source| Error::Unreadable {
        path: owned(),
        source,
    })?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|source| Error::Damaged {
        path: owned(),
        source,
    })?;
    if certificates.is_empty() {
        return Err(Error::Empty { path: owned() });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_an_error_and_not_an_empty_trust() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(matches!(authorities(file.path()), Err(Error::Empty { .. })));
        let missing = file.path().with_extension("missing");
        assert!(matches!(
            authorities(&missing),
            Err(Error::Unreadable { .. })
        ));
    }
}
