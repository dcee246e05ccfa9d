//! A secret as long as it is good, and after it was replaced.
//!
//! Passwords are changed while the gateway runs, by whoever writes the file, and nobody tells the gateway. So the file is
//! watched, and each content that it had is a version. What was begun with one is ended with it: connections, cookies and a
//! client's certificate belong to a version, and go when its last user does. A file that cannot be used changes nothing but
//! the log: half of it may have been written so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use reqwest::header::HeaderValue;
use reqwest::{Client, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::time::MissedTickBehavior;

use super::session::Session;
use crate::config::{Origin, SecretError, SecretSource};
use crate::error::chain;
use crate::watch::{INTERVAL, Watched};

/// The longest value of a header. Servers take 8 KiB for all of them together, most of them.
const LONGEST_HEADER_BYTES: usize = 8 * 1024;

/// How often files are read after a change, and at first: one that is written twice within one tick of the kernel's clock looks
/// the same.
const LOOKS: u32 = 2;

/// A secret that follows its file.
pub(super) struct Secret {
    /// `targets.join.credentials.ipa`, for the log.
    key: String,
    source: SecretSource,
    form: Form,
    current: ArcSwap<Version>,
    /// What is wrong with the file now, as it was logged.
    fault: Mutex<Option<String>>,
}

/// One content of a secret, and what was opened with it.
pub(crate) struct Version {
    id: String,
    bytes: SecretSlice<u8>,
    /// What was good before: a call that began with it may still run.
    before: Option<SecretSlice<u8>>,
    identity: Option<Identity>,
    opened: Mutex<Opened>,
}

/// Clients by the way of the target's clients, and by what they carry.
#[derive(Default)]
struct Opened {
    clients: HashMap<(usize, Origin, Channel), Client>,
    /// Rules with different paths at one origin have one session there.
    sessions: HashMap<Origin, Arc<Session>>,
}

/// What a client has of a secret.
#[derive(Default)]
pub(super) struct Own {
    pub(super) session: Option<Arc<Session>>,
    pub(super) identity: Option<Identity>,
}

/// What a secret has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Fit for a header.
    pub(super) header: bool,
    /// A certificate with its key.
    pub(super) certificate: bool,
}

/// What a connection carries of a secret, apart from the requests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// Nothing.
    Plain,
    /// Cookies.
    Cookies,
    /// A client's certificate.
    Certificate,
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SecretError),
    /// It is to go into a header.
    #[error(
        "the secret in {0} cannot stand in a header: visible ASCII, at most {LONGEST_HEADER_BYTES} bytes"
    )]
    NoHeader(String),
    /// It is to be shown in TLS.
    #[error("{place} holds no certificate with its key, in PEM: {reason}")]
    NoCertificate {
        /// The file or variable.
        place: String,
        /// What is missing or wrong.
        reason: String,
    },
}

impl Secret {
    pub(super) fn read(key: String, source: &SecretSource, form: Form) -> Result<Self, Error> {
        let version = Version::read(source, form)?;
        Ok(Self {
            key,
            source: source.clone(),
            form: Form {
                // Once a certificate, always one: the next half of a pair must not take its place.
                certificate: form.certificate || version.identity.is_some(),
                ..form
            },
            current: ArcSwap::from_pointee(version),
            fault: Mutex::default(),
        })
    }

    pub(super) fn current(&self) -> Arc<Version> {
        self.current.load_full()
    }

    /// Looks at the source again. False when it cannot be used as it is.
    fn reread(&self) -> bool {
        let read = Version::read(&self.source, self.form);
        let mut told = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Err(error) => {
                let fault = chain(&error);
                if told.as_ref() != Some(&fault) {
                    let (key, source) = (&self.key, &self.source);
                    tracing::error!(key, from = %source, "the new secret is not used, the one before it still is: {fault}");
                    *told = Some(fault);
                }
                false
            }
            Ok(mut version) => {
                let (key, source) = (&self.key, &self.source);
                let current = self.current.load();
                if version.is_like(&current) {
                    if told.is_some() {
                        tracing::info!(key, from = %source, "the secret is there again, and the same as before");
                    }
                } else {
                    version.before = Some(current.bytes().to_vec().into());
                    self.current.store(Arc::new(version));
                    tracing::info!(key, from = %source, "the secret was replaced: calls that begin now get the new one");
                }
                *told = None;
                true
            }
        }
    }
}

/// Reads the secrets again whenever their files change, for as long as it is polled.
pub(super) async fn follow(secrets: &[&Secret]) {
    let files = secrets.iter().filter_map(|secret| secret.source.file());
    let paths: Vec<_> = files.map(ToOwned::to_owned).collect();
    if paths.is_empty() {
        return;
    }
    let mut watched = Watched::new(paths);
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks_left = LOOKS;
    loop {
        interval.tick().await;
        if watched.changed() {
            looks_left = LOOKS;
        }
        if looks_left == 0 {
            continue;
        }
        looks_left -= 1;
        let files = secrets
            .iter()
            .filter(|secret| secret.source.file().is_some());
        if files.filter(|secret| !secret.reread()).count() > 0 {
            // What went wrong may end without a trace.
            looks_left = looks_left.max(1);
        }
    }
}

impl Version {
    fn read(source: &SecretSource, form: Form) -> Result<Self, Error> {
        let bytes = source.read_bytes()?;
        if form.header && header_value(bytes.expose_secret()).is_none() {
            return Err(Error::NoHeader(source.to_string()));
        }
        let identity = match identity(bytes.expose_secret()) {
            Ok(identity) => Some(identity),
            Err(_none) if !form.certificate => None,
            Err(reason) => {
                return Err(Error::NoCertificate {
                    place: source.to_string(),
                    reason,
                });
            }
        };
        Ok(Self {
            // Says that a secret may be another one, and nothing about it.
            id: uuid::Uuid::new_v4().to_string(),
            bytes,
            before: None,
            identity,
            opened: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.expose_secret()
    }

    /// Itself, and what was good before.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let before = self.before.iter().map(|before| before.expose_secret());
        before.chain([self.bytes()])
    }

    pub(super) fn is_certificate(&self) -> bool {
        self.identity.is_some()
    }

    /// The client that keeps this version's connections to an origin, and its cookies there, by one of the target's ways.
    /// `make` is asked once for each.
    pub(super) fn client<E>(
        &self,
        origin: &Origin,
        way: usize,
        channel: Channel,
        make: impl FnOnce(Own) -> Result<Client, E>,
    ) -> Result<Client, E> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (way, origin.clone(), channel);
        if let Some(client) = opened.clients.get(&key) {
            return Ok(client.clone());
        }
        let own = match channel {
            Channel::Plain => Own::default(),
            Channel::Cookies => Own {
                session: Some(opened.sessions.entry(origin.clone()).or_default().clone()),
                identity: None,
            },
            Channel::Certificate => Own {
                session: None,
                identity: self.identity.clone(),
            },
        };
        let client = make(own)?;
        opened.clients.insert(key, client.clone());
        Ok(client)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

/// What may stand in a header: blanks around it are not part of a value, and nothing that ends it is inside.
pub(super) fn header_value(bytes: &[u8]) -> Option<HeaderValue> {
    let trimmed = bytes.trim_ascii();
    let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if trimmed.is_empty() || trimmed.len() > LONGEST_HEADER_BYTES || !trimmed.iter().all(visible) {
        return None;
    }
    let mut value = HeaderValue::from_bytes(trimmed).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A chain of certificates and its key. That they belong together is found out here rather than in a handshake.
fn identity(pem: &[u8]) -> Result<Identity, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_none| "no key".to_owned())?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(|error| error.to_string())?;
    Identity::from_pem(pem).map_err(|error| chain(&error))
}
