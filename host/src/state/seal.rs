//! Values are sealed: whoever reads the file, or a backup of it, learns none of them.
//!
//! XChaCha20-Poly1305, since its nonces are long enough to be drawn at random for as many writes as there will ever be. A
//! counter would have to survive restored backups; ring, which is here for TLS, has the short nonces only.
//!
//! What an entry is bound to (whose it is, its key, revision and expiry) is authenticated with it. An entry that somebody
//! moves to another target, or whose expiry he changes, does not open. Somebody who can write the file can still put back
//! an entry, or the whole file, as it once was.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

use crate::config::{SecretError, SecretSource};

const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What sealing adds to a value: which key, the nonce, the tag.
pub(super) const SEAL_BYTES: usize = ID_BYTES + NONCE_BYTES + TAG_BYTES;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not ours to read.
    #[error(transparent)]
    File(#[from] SecretError),
    /// It holds something else.
    #[error(
        "the key file {path} has to hold {KEY_BYTES} bytes in base64: `openssl rand -base64 {KEY_BYTES}` makes them"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// None can be made.
    #[error("the key file {path} cannot be made")]
    Make {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// It was sealed by another key or for another place, or changed since.
#[derive(Debug, thiserror::Error)]
#[error("the seal is broken")]
pub(super) struct Broken;

/// What a sealed value is bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) space: &'a str,
    pub(super) key: &'a str,
    pub(super) revision: u64,
    pub(super) expires_ms: u64,
}

/// The keys: the first seals, all of them open.
pub(super) struct Keys(Vec<Key>);

struct Key {
    /// Tells which key has sealed something, and nothing of the key.
    id: [u8; ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl Keys {
    /// Reads a key from each file, of which there is at least one.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let keys: Result<_, Error> = paths.iter().map(|path| Key::read(path)).collect();
        Ok(Self(keys?))
    }

    /// Makes a key file, unless there is one. It is whole from the moment that it has its name.
    pub(super) fn make(path: &Path) -> Result<(), Error> {
        if path.exists() {
            return Ok(());
        }
        let failed = |source| Error::Make {
            path: path.to_owned(),
            source,
        };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).map_err(|error| failed(std::io::Error::other(error)))?;
        let text = Zeroizing::new(BASE64_STANDARD.encode(*key) + "\n");
        let unfinished = super::file::beside(path, "new");
        // Left behind by a process that was killed here; the store's lock keeps others out.
        let _ = std::fs::remove_file(&unfinished);
        let made = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)?;
            super::file::sync_directory(path)
        };
        made().map_err(failed)
    }

    /// Seals a value, bound to its place.
    pub(super) fn seal(&self, bound: Bound<'_>, value: &[u8]) -> Result<Vec<u8>, Broken> {
        let Some(key) = self.0.first() else {
            return Err(Broken);
        };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_no_randomness| Broken)?;
        let payload = Payload {
            msg: value,
            aad: &bound.encode(),
        };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_too_long| Broken)?;
        Ok([&key.id[..], &nonce[..], &sealed].concat())
    }

    /// Opens what was sealed, if it was for this place.
    pub(super) fn open(&self, bound: Bound<'_>, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let (id, rest) = sealed.split_at_checked(ID_BYTES).ok_or(Broken)?;
        let (nonce, msg) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Broken)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or(Broken)?;
        let aad = &bound.encode();
        let opened = key
            .cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg, aad });
        opened.map_err(|_forged| Broken)
    }

    /// Whether the first key has sealed it; none when no key has.
    pub(super) fn is_newest(&self, sealed: &[u8]) -> Option<bool> {
        let place = self.0.iter().position(|key| sealed.starts_with(&key.id));
        place.map(|place| place == 0)
    }
}

impl Key {
    fn read(path: &Path) -> Result<Self, Error> {
        let text = SecretSource::File(path.to_owned()).read()?;
        let wrong = || Error::Format {
            path: path.to_owned(),
        };
        let bytes = BASE64_STANDARD
            .decode(text.expose_secret().trim())
            .map(Zeroizing::new)
            .map_err(|_not_base64| wrong())?;
        if bytes.len() != KEY_BYTES {
            return Err(wrong());
        }
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_length| wrong())?;
        let digest = Sha256::new_with_prefix(b"vendordock: name of a key of the state")
            .chain_update(&*bytes)
            .finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        Ok(Self { id, cipher })
    }
}

impl Bound<'_> {
    /// No two places give the same bytes: a length stands before each text.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = b"vendordock state 1".to_vec();
        for text in [self.space, self.key] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(self.revision.to_be_bytes());
        bytes.extend(self.expires_ms.to_be_bytes());
        bytes
    }
}
