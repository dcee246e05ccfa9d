//! Keystone's public keys, from a directory.
//!
//! `keystone-manage create_jws_keypair` writes one SubjectPublicKeyInfo in PEM, as `public.pem`, and operators name the
//! files as they like. What a key may verify is read from the key itself, its curve, and never from a token or a file's
//! name: or a forger would choose how his token is checked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::config::{self, JwsAlgorithm};

/// A key in PEM is under 300 bytes, with a page of comments a few thousand.
const LONGEST_FILE_BYTES: usize = 64 * 1024;

/// As dalek has it, and its reader takes for granted.
const ED25519_BYTES: usize = 32;

/// Why a token's signature cannot be checked by what is in the directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or one of its files is not there, or not ours to read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The directory, or the file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// No file holds a key that may be used. Nobody could be let in.
    #[error("no public key in {path} (*.pem) is good for {algorithms:?}: every token is refused")]
    NoKey {
        /// The directory.
        path: PathBuf,
        /// What is accepted.
        algorithms: Vec<JwsAlgorithm>,
    },
    /// Whoever reads this file can make tokens. It belongs on keystone's hosts alone.
    #[error("{path} holds a private key: only keystone's public keys belong here")]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// It may be half written.
    #[error("{path} is not one public key in PEM")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A key on another curve, or RSA's.
    #[error("{path} holds a public key that is not for ES256, ES384 or EdDSA")]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

/// A public key, and the one algorithm that it is for.
pub(super) struct Key {
    algorithm: JwsAlgorithm,
    key: DecodingKey,
}

impl Key {
    /// Whether the key's owner signed this, by this algorithm.
    pub(super) fn verifies(
        &self,
        algorithm: JwsAlgorithm,
        message: &[u8],
        signature: &str,
    ) -> bool {
        self.algorithm == algorithm
            && jsonwebtoken::crypto::verify(signature, message, &self.key, library(algorithm))
                .unwrap_or(false)
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::Damaged {
            path: path.to_owned(),
        };
        if text.len() > LONGEST_FILE_BYTES {
            return Err(damaged());
        }
        let text = std::str::from_utf8(text).map_err(|_| damaged())?;
        // Before all else: also when it is damaged, or has a public key beside it.
        if text.contains("PRIVATE KEY-----") {
            return Err(Error::Private {
                path: path.to_owned(),
            });
        }
        let blocks: Result<Vec<Pem>, _> = Pem::iter_from_buffer(text.as_bytes()).collect();
        let blocks = blocks.map_err(|_| damaged())?;
        let [block] = &blocks[..] else {
            return Err(damaged());
        };
        if block.label != "PUBLIC KEY" {
            return Err(damaged());
        }
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(&block.contents).map_err(|_| damaged())?;
        if !rest.is_empty() || info.subject_public_key.unused_bits != 0 {
            return Err(damaged());
        }
        let algorithm = algorithm(&info).ok_or_else(|| Error::Kind {
            path: path.to_owned(),
        })?;
        let bytes = &*info.subject_public_key.data;
        let key = match algorithm {
            JwsAlgorithm::ES256 | JwsAlgorithm::ES384 => DecodingKey::from_ec_der(bytes),
            // The library would panic.
            JwsAlgorithm::EdDSA if bytes.len() != ED25519_BYTES => return Err(damaged()),
            JwsAlgorithm::EdDSA => DecodingKey::from_ed_der(bytes),
        };
        // Else a point that is not on its curve would be noticed with the first token, as a bad signature.
        (DEFAULT_PROVIDER.verifier_factory)(&library(algorithm), &key).map_err(|_| damaged())?;
        Ok(Self { algorithm, key })
    }
}

/// All keys that are good for the accepted algorithms, and what is wrong with the other files.
pub(super) fn read(config: &config::Jws) -> (Vec<Key>, Vec<Error>) {
    let directory = &config.public_keys;
    let mut paths = match files(directory) {
        Ok(paths) => paths,
        Err(source) => {
            let path = directory.clone();
            return (Vec::new(), vec![Error::Unreadable { path, source }]);
        }
    };
    paths.sort();
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match read_file(&path) {
            Ok(Some(key)) if config.algorithms.contains(&key.algorithm) => keys.push(key),
            Ok(Some(key)) => tracing::debug!(
                path = %path.display(),
                "a key for {:?}, which [keystone.jws] algorithms does not have, is not used",
                key.algorithm
            ),
            Ok(None) => tracing::debug!(path = %path.display(), "not a public key's file"),
            Err(fault) => faults.push(fault),
        }
    }
    if keys.is_empty() && faults.is_empty() {
        faults.push(Error::NoKey {
            path: directory.clone(),
            algorithms: config.algorithms.clone(),
        });
    }
    (keys, faults)
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

/// None for what is left alone: another name, a directory, a pipe that nobody writes to.
fn read_file(path: &Path) -> Result<Option<Key>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    // Follows links, since a mounted secret is one.
    if hidden
        || path.extension() != Some(OsStr::new("pem"))
        || !fs::metadata(path).map_err(unreadable)?.is_file()
    {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| {
            let bytes = LONGEST_FILE_BYTES as u64 + 1;
            file.take(bytes).read_to_end(&mut text)
        })
        .map_err(unreadable)?;
    Key::parse(path, &text).map(Some)
}

fn algorithm(info: &SubjectPublicKeyInfo<'_>) -> Option<JwsAlgorithm> {
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|parameters| parameters.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string());
    match (&*info.algorithm.algorithm.to_id_string(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Some(JwsAlgorithm::ES256),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Some(JwsAlgorithm::ES384),
        ("1.3.101.112", None) => Some(JwsAlgorithm::EdDSA),
        _ => None,
    }
}

fn library(algorithm: JwsAlgorithm) -> Algorithm {
    match algorithm {
        JwsAlgorithm::ES256 => Algorithm::ES256,
        JwsAlgorithm::ES384 => Algorithm::ES384,
        JwsAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
