//! Who is calling.
//!
//! nova proves itself with a keystone token, a certificate, or a token that the operator made. That proof is the only
//! thing between a tenant and another tenant's secrets: whoever gets past here may ask for any instance.
//!
//! Each cloud has an `Auth` of its own, and nothing of one is known to another.

mod certificate;
pub mod jws;
mod keystone;
mod policy;
mod static_tokens;

use std::fmt;
use std::sync::Arc;

use axum::http::request::Parts;

use self::certificate::accepted as certificate_accepted;
pub use self::jws::Verifier;
pub use self::keystone::{Account, Error as KeystoneError, Keystone};
pub use self::policy::{Named, Token};
use self::static_tokens::StaticTokens;
use crate::config::{self, Policy, Proof};
use crate::server::PeerCertificate;
use crate::telemetry::metrics::CloudMetrics;

/// How one cloud lets callers in.
pub struct Auth {
    certificates: Option<config::ClientCertificate>,
    token: TokenProof,
}

/// What is asked of the token, if any is.
enum TokenProof {
    Keystone(Arc<Keystone>),
    Static(StaticTokens),
    None,
}

/// A caller whose proofs are good and accepted.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// What keystone says of the token.
    pub token: Option<Arc<Token>>,
    /// The operator's name for the static token.
    pub static_token: Option<Arc<str>>,
    /// The certificate.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// Why a caller was turned away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nova is not configured to send a token at all.
    #[error("no X-Auth-Token header")]
    NoToken,
    /// Keystone knows the token no longer, or never did. nova fetches a new one and asks again.
    #[error("the token is invalid or expired")]
    Rejected,
    /// No public key of keystone's has signed the token, or it has expired. nova fetches a new one and asks again.
    #[error("the token is invalid or expired: {0}")]
    Signature(jws::Rejected),
    /// The token is good and proves the wrong thing. Another one would prove the same.
    #[error("{token} is not accepted: wanted is {wanted}")]
    WrongCaller {
        /// What the token proves.
        token: Arc<Token>,
        /// The policy.
        wanted: String,
    },
    /// TLS brought no certificate, or there was no TLS.
    #[error("no client certificate")]
    NoCertificate,
    /// The certificate is of the right authority, and not of an accepted caller.
    #[error(
        "the certificate of {0} is not accepted; client_certificate under [auth] says whose is"
    )]
    WrongCertificate(config::Subject),
    /// Keystone does not let the gateway itself in, or not validate tokens.
    #[error("keystone refuses the gateway's own account")]
    Account(#[source] KeystoneError),
    /// Keystone gave no answer, so nothing is known about the token.
    #[error("cannot ask keystone")]
    Unreachable(#[source] KeystoneError),
    /// Keystone gave no answer a moment ago, and is left alone for another.
    #[error("keystone gave no answer a moment ago")]
    Resting,
    /// Keystone's answer cannot be read, so nothing is known about the token.
    #[error("cannot read keystone's answer")]
    Nonsense(#[source] KeystoneError),
    /// More unknown tokens wait for keystone than may.
    #[error("too many tokens wait to be validated")]
    Busy,
}

impl Auth {
    /// Makes one cloud's ways ready. `policies` are all that its targets have; `account` is the gateway's own there.
    ///
    /// # Errors
    ///
    /// When a secret, a certificate or a key cannot be had.
    pub fn new(
        cloud: &config::Cloud,
        account: Option<Arc<Account>>,
        remembered: u64,
        policies: Vec<Policy>,
        metrics: Arc<CloudMetrics>,
    ) -> Result<Self, KeystoneError> {
        let require = &cloud.auth.require;
        let token = match &cloud.keystone {
            Some(keystone) if require.has(Proof::Keystone) => TokenProof::Keystone(Keystone::new(
                keystone, account, remembered, policies, metrics,
            )?),
            _ if require.has(Proof::StaticToken) => {
                TokenProof::Static(StaticTokens::new(&cloud.auth.static_tokens))
            }
            _ => TokenProof::None,
        };
        let certificates = require
            .has(Proof::ClientCertificate)
            .then(|| cloud.auth.client_certificate.clone());
        Ok(Self {
            certificates,
            token,
        })
    }

    /// Whether anyone is let in who reaches the port.
    pub fn is_open(&self) -> bool {
        self.certificates.is_none() && matches!(self.token, TokenProof::None)
    }

    /// Keeps what was read from files up to date, for as long as it is polled.
    pub async fn keep_up(&self) {
        match &self.token {
            TokenProof::Keystone(keystone) => keystone.keep_up().await,
            TokenProof::Static(_) | TokenProof::None => std::future::pending().await,
        }
    }

    /// Lets a request in, or not, where nobody has to be asked; none where keystone has to be.
    pub fn admit_known(
        &self,
        parts: &Parts,
        policy: &Policy,
    ) -> Option<Result<Caller, Arc<Error>>> {
        match self.shown(parts) {
            Ok((caller, None)) => Some(Ok(caller)),
            Ok((caller, Some((keystone, token)))) => {
                let token = keystone.known(token)?;
                Some(caller.with(token, policy))
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Lets a request in, or not.
    ///
    /// # Errors
    ///
    /// When the caller is turned away.
    pub async fn admit(&self, parts: &Parts, policy: &Policy) -> Result<Caller, Arc<Error>> {
        match self.shown(parts)? {
            (caller, None) => Ok(caller),
            (caller, Some((keystone, token))) => {
                caller.with(keystone.validate(token).await?, policy)
            }
        }
    }

    /// What a request shows, and the token that keystone has a word on.
    #[expect(
        clippy::type_complexity,
        reason = "a caller, and what is open about him"
    )]
    fn shown<'a>(
        &'a self,
        parts: &'a Parts,
    ) -> Result<(Caller, Option<(&'a Arc<Keystone>, &'a [u8])>), Error> {
        let mut caller = Caller::default();
        if let Some(accepted) = &self.certificates {
            let certificate = parts.extensions.get::<Arc<PeerCertificate>>();
            let certificate = certificate.ok_or(Error::NoCertificate)?;
            if !certificate_accepted(certificate, accepted) {
                return Err(Error::WrongCertificate(certificate.subject.clone()));
            }
            caller.certificate = Some(certificate.clone());
        }
        if matches!(self.token, TokenProof::None) {
            return Ok((caller, None));
        }
        let token = parts
            .headers
            .get("x-auth-token")
            .map(|value| value.as_bytes())
            .filter(|token| !token.is_empty())
            .ok_or(Error::NoToken)?;
        match &self.token {
            TokenProof::Keystone(keystone) => Ok((caller, Some((keystone, token)))),
            TokenProof::Static(tokens) => {
                caller.static_token = Some(tokens.name(token).ok_or(Error::Rejected)?);
                Ok((caller, None))
            }
            TokenProof::None => Ok((caller, None)),
        }
    }
}

impl Caller {
    /// The caller with what keystone says of his token, where that is enough.
    fn with(self, token: Arc<Token>, policy: &Policy) -> Result<Self, Arc<Error>> {
        if token.is_accepted(policy) {
            let token = Some(token);
            Ok(Self { token, ..self })
        } else {
            let wanted = policy.to_string();
            Err(Error::WrongCaller { token, wanted }.into())
        }
    }
}

/// For the log: who, without what proved it.
impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(token) = &self.token {
            write!(formatter, "user {}", token.user.id)?;
            comma = ", ";
        }
        if let Some(name) = &self.static_token {
            write!(formatter, "{comma}token {name}")?;
            comma = ", ";
        }
        if let Some(certificate) = &self.certificate {
            write!(formatter, "{comma}certificate {}", certificate.subject)?;
            comma = ", ";
        }
        if comma.is_empty() {
            formatter.write_str("anyone")?;
        }
        Ok(())
    }
}
