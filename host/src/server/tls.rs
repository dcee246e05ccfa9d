//! The gateway's certificate, as long as it is good and after it was replaced.
//!
//! Certificates live for weeks, and the gateway for months. Whoever renews them writes files and tells nobody, so the files
//! are watched. A new pair is used from the next handshake on; connections that are open stay. A pair that cannot be
//! used changes nothing but the log: half of it may have been written so far.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config;
use crate::error::chain;
use crate::watch::Watched;

const DAY: i64 = 24 * 60 * 60;

/// Long enough before its end, a certificate that should have been renewed by itself was not.
const SOON: i64 = 14 * DAY;

/// What TLS connections begin with.
pub struct Tls {
    files: config::Tls,
    watched: Watched,
    current: ArcSwap<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    expiry: Option<Expiry>,
}

/// Why the files of `[server.tls]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there, or not ours to read.
    #[error("{key} {path} cannot be read")]
    Unreadable {
        /// Which file.
        key: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Nothing of the kind stands in it.
    #[error("{key} {path} holds no {what} in PEM")]
    Empty {
        /// Which file.
        key: &'static str,
        /// Where.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// What stands in it is no certificate or key.
    #[error("{key} {path} is damaged")]
    Damaged {
        /// Which file.
        key: &'static str,
        /// Where.
        path: PathBuf,
        /// What the parser says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Each is good, and they do not belong together.
    #[error("key_file {key} does not belong to the certificate in {certificate}")]
    Mismatch {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        certificate: PathBuf,
    },
}

/// A certificate's end is near, or past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// In this many days.
    Soon(i64),
    /// It is past.
    Past,
}

impl Error {
    /// The key under `[server.tls]`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::Empty { key, .. } | Self::Damaged { key, .. } => {
                key
            }
            Self::Mismatch { .. } => "key_file",
        }
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn new(files: &config::Tls) -> Result<Self, Vec<Error>> {
        let paths = [&files.certificate_file, &files.key_file];
        let paths = paths.into_iter().chain(&files.client_ca_file).cloned();
        // Looked at before they are read: what changes in between is read again.
        let watched = Watched::new(paths.collect());
        let current = load(files)?;
        Ok(Self {
            files: files.clone(),
            watched,
            current: ArcSwap::from_pointee(current),
        })
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.load().config.clone().into()
    }

    /// What is to be said of the certificate's end.
    pub fn expiry(&self) -> Option<Expiry> {
        self.current.load().expiry
    }

    /// Reads the files again whenever they change, for as long as it is polled.
    pub async fn follow(&self) {
        self.log_expiry();
        let reload = || match load(&self.files) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                tracing::info!("the certificate was replaced: new connections get the new one");
                self.log_expiry();
            }
            Err(errors) => {
                for error in errors {
                    tracing::error!("the new certificate is not used: {}", chain(&error));
                }
            }
        };
        self.watched.clone().each_change(reload).await;
    }

    fn log_expiry(&self) {
        match self.expiry() {
            None => {}
            Some(soon @ Expiry::Soon(_)) => tracing::warn!("{soon}"),
            Some(past @ Expiry::Past) => tracing::error!("{past}"),
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Soon(days) => write!(formatter, "the certificate expires in {days} days"),
            Self::Past => write!(
                formatter,
                "the certificate has expired: no client accepts it"
            ),
        }
    }
}

fn load(files: &config::Tls) -> Result<Current, Vec<Error>> {
    let provider = Arc::new(ring::default_provider());
    let certificates = certificates("certificate_file", &files.certificate_file);
    let key = key(&files.key_file);
    let authority = files.client_ca_file.as_deref().map(authority).transpose();
    let (certificates, key, authority) = match (certificates, key, authority) {
        (Ok(certificates), Ok(key), Ok(authority)) => (certificates, key, authority),
        (certificates, key, authority) => {
            let errors = [certificates.err(), key.err(), authority.err()];
            return Err(errors.into_iter().flatten().collect());
        }
    };
    together(files, &provider, certificates, key, authority).map_err(|error| vec![error])
}

fn together(
    files: &config::Tls,
    provider: &Arc<CryptoProvider>,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: Option<RootCertStore>,
) -> Result<Current, Error> {
    let expiry = expiry(&certificates[0]).map_err(|source| Error::Damaged {
        key: "certificate_file",
        path: files.certificate_file.clone(),
        source: source.into(),
    })?;
    let pair =
        CertifiedKey::from_der(certificates, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Error::Mismatch {
                key: files.key_file.clone(),
                certificate: files.certificate_file.clone(),
            },
            rustls::Error::InvalidCertificate(_) => Error::Damaged {
                key: "certificate_file",
                path: files.certificate_file.clone(),
                source: error.into(),
            },
            error => Error::Damaged {
                key: "key_file",
                path: files.key_file.clone(),
                source: error.into(),
            },
        })?;
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3");
    let config = match authority {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authority.into(), provider.clone());
            // Who must show one is for `auth` to say, which answers in HTTP.
            let verifier = verifier.allow_unauthenticated().build();
            config.with_client_cert_verifier(verifier.expect("an authority is there"))
        }
    };
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    let mut config = config.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current {
        config: Arc::new(config),
        expiry,
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(key, path)?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|source| damaged(key, path, source))?;
    if certificates.is_empty() {
        return Err(Error::Empty {
            key,
            path: path.to_owned(),
            what: "certificate",
        });
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let key = "key_file";
    let pem = read(key, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::Empty {
            key,
            path: path.to_owned(),
            what: "key",
        },
        error => damaged(key, path, error),
    })
}

fn authority(path: &Path) -> Result<RootCertStore, Error> {
    let key = "client_ca_file";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        let added = roots.add(certificate);
        added.map_err(|source| damaged(key, path, source))?;
    }
    Ok(roots)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

fn damaged(
    key: &'static str,
    path: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Damaged {
        key,
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn expiry(
    der: &[u8],
) -> Result<Option<Expiry>, x509_parser::nom::Err<x509_parser::error::X509Error>> {
    let (_, certificate) = X509Certificate::from_der(der)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is wrong, and then nothing is known.
    let now = now.map_or(0, |now| now.as_secs().cast_signed());
    Ok(in_words(certificate.validity().not_after.timestamp() - now))
}

fn in_words(seconds_left: i64) -> Option<Expiry> {
    match seconds_left {
        ..0 => Some(Expiry::Past),
        0..SOON => Some(Expiry::Soon(seconds_left / DAY)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_near_its_end_is_told_with_the_days_that_are_left() {
        assert_eq!(in_words(14 * DAY), None);
        assert_eq!(in_words(14 * DAY - 1), Some(Expiry::Soon(13)));
        assert_eq!(in_words(1), Some(Expiry::Soon(0)));
        assert_eq!(in_words(-1), Some(Expiry::Past));
    }
}
