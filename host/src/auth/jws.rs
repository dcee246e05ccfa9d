//! A token checked by keystone's public keys, without asking keystone.
//!
//! With `[token] provider = jws`, a token is a JSON Web Signature over its user's id, its project's id and its times,
//! and no more: roles, names and whether it was revoked are keystone's to know. What is checked here therefore proves
//! that keystone issued the token, and that it has not expired. Whether that is enough, `[keystone.jws] mode` decides.
//!
//! Tokens name no key, so that each key of the right kind is tried. When keystone signs with a new key, its tokens are
//! good at once: one that no key verifies makes us look whether the directory has changed, and a look costs a few
//! system calls. A key that is removed stops being good within a second.

mod keys;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;

pub use self::keys::Error;
use self::keys::Key;
use crate::config::{self, JwsAlgorithm};
use crate::error::chain;
use crate::watch::{self, Watched};

/// Keystone's are about 400 bytes; a federated user's groups make some longer.
const LONGEST_TOKEN_BYTES: usize = 8 * 1024;

/// How far keystone's clock may be ahead of ours. Beyond that one of them is wrong, and the expiry means nothing.
const CLOCKS_DIFFER_SECONDS: i64 = 300;

/// How often the keys may turn out to have changed while one token is checked. Another request may have begun to read
/// the second ones before this token came, but not the third. And a directory where something changes all the time must
/// not hold up a bad token.
const MOST_TRIES: u32 = 3;

/// Keystone's public keys, as they are now.
pub struct Verifier {
    config: config::Jws,
    keys: ArcSwap<Vec<Key>>,
    generation: AtomicU64,
    directory: Mutex<Directory>,
}

/// What a token proves: that keystone let this user in, and where to.
///
/// How the user logged in is not told. A token from a trust or an application credential is its user's as any other,
/// though it may carry fewer of the user's roles; one for a domain or the whole system has no project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user, by id.
    pub user_id: String,
    /// The project the token is scoped to, by id.
    pub project_id: Option<String>,
    /// From when on the token is worth nothing.
    pub expires_at: OffsetDateTime,
}

/// Why a token is not good. The caller hears none of this; nothing of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not three parts in base64, or too long, or its header demands what we do not know. So is every fernet token:
    /// keystone's provider may not be JWS.
    #[error("not a signed token")]
    NotJws,
    /// Keystone may be signing by an algorithm that is not configured here.
    #[error("signed by an algorithm that [keystone.jws] algorithms does not have")]
    Algorithm,
    /// Altered, forged, or signed with a key that is not in the directory (any more).
    #[error("no public key verifies the signature")]
    Signature,
    /// nova renews its token two minutes ahead.
    #[error("expired")]
    Expired,
    /// Signed by keystone, and not what keystone writes into a token, or written in the future: one of the clocks is
    /// wrong.
    #[error("not the claims of a token, or issued in the future")]
    Claims,
}

struct Directory {
    watched: Watched,
    /// Something could not be read the last time, for reasons that need not show in the directory: too many open files.
    unread: bool,
    /// What was wrong the last time.
    faults: Vec<String>,
}

/// A derived struct, unlike a map, refuses what is written twice.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Names of extensions that must be understood, and none is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

#[derive(Deserialize)]
struct Payload {
    sub: String,
    exp: i64,
    iat: Option<i64>,
    openstack_project_id: Option<String>,
}

/// A token taken apart. Nothing of it is proven.
struct Parts<'a> {
    /// What was signed.
    message: &'a [u8],
    header: Header,
    payload: Vec<u8>,
    signature: &'a str,
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// When there is none, or one of the files cannot be used. Later such a file is reported in the log, and the other
    /// keys stay in use.
    pub fn new(config: &config::Jws) -> Result<Self, Error> {
        // Before the files are read: what changes meanwhile is seen the next time.
        let watched = Watched::new(vec![config.public_keys.clone()]);
        let (keys, faults) = keys::read(config);
        if let Some(fault) = faults.into_iter().next() {
            return Err(fault);
        }
        Ok(Self {
            config: config.clone(),
            keys: ArcSwap::from_pointee(keys),
            generation: AtomicU64::new(0),
            directory: Mutex::new(Directory {
                watched,
                unread: false,
                faults: Vec::new(),
            }),
        })
    }

    /// Everything that keeps [`Self::new`] from working.
    pub fn faults(config: &config::Jws) -> Vec<Error> {
        keys::read(config).1
    }

    /// What a token proves, at this moment. It costs one check of a signature for each key of its kind, until one fits;
    /// where none does, a look at the directory as well.
    ///
    /// # Errors
    ///
    /// When it proves nothing. Expiry is by our clock to the second, as it is by keystone's own: a caller that is
    /// refused fetches a new token.
    pub fn verify(&self, token: &[u8]) -> Result<Claims, Rejected> {
        let parts = Parts::of(token).ok_or(Rejected::NotJws)?;
        let mut accepted = self.config.algorithms.iter();
        let algorithm = accepted
            .find(|algorithm| name(**algorithm) == parts.header.alg)
            .ok_or(Rejected::Algorithm)?;
        let verified_by = |keys: &[Key]| {
            keys.iter()
                .any(|key| key.verifies(*algorithm, parts.message, parts.signature))
        };
        let mut keys = self.keys.load_full();
        let mut tries = 1;
        while !verified_by(&keys) {
            if tries == MOST_TRIES {
                return Err(Rejected::Signature);
            }
            tries += 1;
            keys = self.newer_than(&keys).ok_or(Rejected::Signature)?;
        }
        let payload = serde_json::from_slice(&parts.payload).map_err(|_| Rejected::Claims)?;
        claims(payload, OffsetDateTime::now_utc())
    }

    /// Another number whenever the keys have been read again: what was verified before it changed has to be verified anew,
    /// since its key may be gone.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the keys again whenever they have changed, for as long as it is polled. Without this, a key that is
    /// removed stays good until some token is refused.
    pub async fn watch(self: Arc<Self>) {
        let mut interval = tokio::time::interval(watch::INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let mut directory = self.directory();
            // Not for each bad token, of which there may be many.
            if directory.unread || directory.watched.changed() {
                self.read_again(&mut directory);
            }
        }
    }

    /// Other keys than those that were tried, if there are any by now.
    fn newer_than(&self, tried: &Arc<Vec<Key>>) -> Option<Arc<Vec<Key>>> {
        let mut directory = self.directory();
        // While this one waited for the lock, another may have found them.
        let keys = self.keys.load_full();
        if !Arc::ptr_eq(&keys, tried) {
            return Some(keys);
        }
        if !directory.watched.changed() {
            return None;
        }
        self.read_again(&mut directory);
        Some(self.keys.load_full())
    }

    fn read_again(&self, directory: &mut Directory) {
        let (keys, faults) = keys::read(&self.config);
        let retried = std::mem::replace(
            &mut directory.unread,
            faults
                .iter()
                .any(|fault| matches!(fault, Error::Unreadable { .. })),
        );
        let faults: Vec<String> = faults.iter().map(|fault| chain(fault)).collect();
        // A retry comes every second.
        if !retried || faults != directory.faults {
            for fault in &faults {
                tracing::error!("[keystone.jws] public_keys: {fault}");
            }
            tracing::info!(keys = keys.len(), "read keystone's public keys again");
        }
        directory.faults = faults;
        self.keys.store(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn directory(&self) -> std::sync::MutexGuard<'_, Directory> {
        // It is whole at any moment.
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return None;
        }
        let token = std::str::from_utf8(token).ok()?;
        let (message, signature) = token.rsplit_once('.')?;
        // A third dot would be in the payload, and is not base64.
        let (header, payload) = message.split_once('.')?;
        let header = BASE64.decode(header).ok()?;
        let header: Header = serde_json::from_slice(&header).ok()?;
        // The key decodes it once more. What is not even base64 is not worth a look at the directory.
        BASE64.decode(signature).ok()?;
        (!header.crit).then_some(Self {
            message: message.as_bytes(),
            header,
            payload: BASE64.decode(payload).ok()?,
            signature,
        })
    }
}

fn claims(payload: Payload, now: OffsetDateTime) -> Result<Claims, Rejected> {
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Rejected::Claims);
    let expires_at = time(payload.exp)?;
    if expires_at <= now {
        return Err(Rejected::Expired);
    }
    let latest = now.unix_timestamp() + CLOCKS_DIFFER_SECONDS;
    let project_id = payload.openstack_project_id;
    if payload.iat.is_some_and(|issued_at| issued_at > latest)
        || payload.sub.is_empty()
        || project_id.as_deref() == Some("")
    {
        return Err(Rejected::Claims);
    }
    Ok(Claims {
        user_id: payload.sub,
        project_id,
        expires_at,
    })
}

/// As a token's header has it.
fn name(algorithm: JwsAlgorithm) -> &'static str {
    match algorithm {
        JwsAlgorithm::ES256 => "ES256",
        JwsAlgorithm::ES384 => "ES384",
        JwsAlgorithm::EdDSA => "EdDSA",
    }
}

/// Whatever the value is, null too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}
