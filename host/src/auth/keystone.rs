//! A token validated by keystone.
//!
//! `GET /v3/auth/tokens` with the token as subject and the gateway's own as proof. A token that keystone does not know is a
//! 404; a 401 concerns our own, which is renewed once. Keystone takes most of a second for a validation, and nova
//! uses one token for an hour, so what keystone says is kept, by the token's SHA-256 so that a dump of memory holds no
//! token, and never beyond the token's expiry.
//!
//! Two things are kept apart from each other. Tokens that some target accepts are nova's, and few; all others are
//! strangers', and anybody can send any number of those. So a flood of strangers pushes only strangers out, and waits
//! for keystone in a queue of its own.
//!
//! A keystone that gives no answer is left alone for a moment, and tokens that were good before stay good for a while:
//! instances boot while keystone is being upgraded.

mod account;
mod known;
mod online;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use url::Url;

pub use self::account::Account;
use self::known::{AtItsEnd, Known, Stranger, Welcome};
use self::online::Online;
use super::jws::{self, Claims, Verifier};
use super::policy::Named;
use super::{Error as AuthError, Token};
use crate::config::{self, Policy};
use crate::telemetry::metrics::{CloudMetrics, Validation};
use crate::trust;
use crate::unabandoned::Unabandoned;

/// Longer than any kind of keystone token; a header may not make us hash megabytes.
const LONGEST_TOKEN_BYTES: usize = 8 * 1024;

/// How long a caller who was good before waits for a slow keystone to say so again. Its answer still counts when it comes
/// later.
const PATIENCE_WITHIN_GRACE: Duration = Duration::from_secs(1);

/// One keystone, with what it said before.
pub struct Keystone {
    online: Option<Arc<Online>>,
    verifier: Option<Arc<Verifier>>,
    /// Every policy of the cloud's targets: who passes none of them is a stranger.
    policies: Vec<Policy>,
    believed_for: Duration,
    rejected_for: Duration,
    grace: Duration,
    welcome: Welcome,
    strangers: Cache<[u8; 32], Stranger>,
    metrics: Arc<CloudMetrics>,
    /// Tokens that are being validated, each once.
    flights: Cache<[u8; 32], (), foldhash::quality::RandomState>,
}

/// Why keystone could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be built.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// The authority's certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// The account's secret cannot be read.
    #[error(transparent)]
    Secret(config::SecretError),
    /// Keystone's public keys cannot be used.
    #[error(transparent)]
    Jws(#[from] jws::Error),
    /// The keys that `Config::load` asks for are not there.
    #[error("[keystone] has no auth_url or no account")]
    Incomplete,
    /// No answer.
    #[error("no answer from {url}")]
    NoAnswer {
        /// Who was asked.
        url: Url,
        /// What the client says.
        source: reqwest::Error,
    },
    /// An answer that has no place in the protocol. Its body may repeat the token, and is not kept.
    #[error("{url} answered {status}")]
    Status {
        /// Who was asked.
        url: Url,
        /// What it answered.
        status: StatusCode,
    },
    /// An answer that is not what keystone sends.
    #[error("the answer is not a token")]
    Body(#[source] serde_json::Error),
    /// An answer without end.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// A token came without its id.
    #[error("the answer has no X-Subject-Token")]
    NoSubjectToken,
}

/// What a validation came to. moka hands it to all who wait, and keeps nothing.
#[derive(Clone)]
enum Verdict {
    /// What the token proves; none when keystone does not know it.
    Told(Option<Arc<Token>>),
    /// Keystone did not say.
    Unknown(Arc<AuthError>),
}

impl Keystone {
    /// Reads keystone's public keys. Keystone itself is not asked yet: the gateway starts without it. `policies` are all
    /// that the cloud's targets have; the account is for asking, where keystone is ever asked.
    ///
    /// # Errors
    ///
    /// When the keys cannot be had, or the account is missing.
    pub fn new(
        config: &config::Keystone,
        account: Option<Arc<Account>>,
        remembered: u64,
        policies: Vec<Policy>,
        metrics: Arc<CloudMetrics>,
    ) -> Result<Arc<Self>, Error> {
        let verifier = match &config.jws {
            Some(jws) => Some(Arc::new(Verifier::new(jws)?)),
            None => None,
        };
        let online = if config.is_offline() {
            None
        } else {
            let account = account.ok_or(Error::Incomplete)?;
            Some(Arc::new(Online::new(config, account)))
        };
        let milliseconds = |time: u32| Duration::from_millis(time.into());
        Ok(Arc::new(Self {
            online,
            verifier,
            policies,
            metrics,
            believed_for: milliseconds(config.token_cache_ms),
            rejected_for: milliseconds(config.rejected_cache_ms),
            grace: milliseconds(config.grace_ms),
            welcome: Welcome::new(usize::try_from(remembered).unwrap_or(usize::MAX)),
            strangers: Cache::builder()
                .max_capacity(remembered)
                .expire_after(AtItsEnd)
                .build(),
            flights: Cache::builder()
                .max_capacity(remembered)
                .build_with_hasher(foldhash::quality::RandomState::default()),
        }))
    }

    /// Everything that keeps [`Self::new`] from working: an operator wants to hear of all of it at once.
    pub(crate) fn faults(config: &config::Keystone) -> Vec<Error> {
        let authorities = config.ca_file.as_deref().map(trust::authorities);
        let trust = authorities.and_then(Result::err).map(Error::Trust);
        let account = config.account();
        let secret = account
            .as_ref()
            .and_then(|account| account::source(account).read().err())
            .map(Error::Secret);
        let keys = config.jws.as_ref().map(Verifier::faults);
        let keys = keys.into_iter().flatten().map(Error::Jws);
        trust.into_iter().chain(secret).chain(keys).collect()
    }

    /// Reads keystone's public keys again when they change, for as long as it is polled.
    pub(super) async fn keep_up(&self) {
        match &self.verifier {
            Some(verifier) => verifier.clone().watch().await,
            None => std::future::pending().await,
        }
    }

    /// What a token proves that was validated before. None says nothing of it.
    pub fn known(&self, token: &[u8]) -> Option<Arc<Token>> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.welcome.get(&digest)?;
        if known.keys != self.keys() || known.believed_until <= Instant::now() {
            return None;
        }
        self.metrics.validated(Validation::Cached);
        Some(known.token)
    }

    /// What a good token proves. Whether that is enough is for the caller to say.
    ///
    /// # Errors
    ///
    /// When the token is not good, or nothing can be known of it.
    pub async fn validate(self: &Arc<Self>, token: &[u8]) -> Result<Arc<Token>, Arc<AuthError>> {
        if token.len() > LONGEST_TOKEN_BYTES {
            self.metrics.validated(Validation::Rejected);
            return Err(AuthError::Rejected.into());
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        // Before the token is checked: should they change meanwhile, it is checked again the next time.
        let keys = self.keys();
        let known = self.welcome.get(&digest);
        let known = known.filter(|known| known.keys == keys);
        if let Some(known) = &known
            && Instant::now() < known.believed_until
        {
            self.metrics.validated(Validation::Cached);
            return Ok(known.token.clone());
        }
        if let Some(stranger) = self.strangers.get(&digest).await {
            return self.told(stranger.token);
        }
        let expires_at = match &self.verifier {
            None => None,
            Some(verifier) => match verifier.verify(token) {
                Ok(claims) if self.online.is_none() => {
                    let token = self.believe(digest, claims, keys).await;
                    return self.told(Some(token));
                }
                Ok(claims) => Some(claims.expires_at),
                Err(reason) => {
                    self.metrics.validated(Validation::OfflineRejected);
                    return Err(AuthError::Signature(reason).into());
                }
            },
        };
        let (Some(online), Ok(mut subject)) = (&self.online, HeaderValue::from_bytes(token)) else {
            return self.told(None);
        };
        subject.set_sensitive(true);
        let flight = self.fly(online, digest, subject, known.is_some(), keys);
        let verdict = match &known {
            None => flight.await,
            Some(_) => match tokio::time::timeout(PATIENCE_WITHIN_GRACE, flight).await {
                Ok(verdict) => verdict,
                Err(_slow) => Verdict::Unknown(AuthError::Resting.into()),
            },
        };
        // What the signature says of its end holds whatever keystone says.
        if expires_at.is_some_and(|end| end <= OffsetDateTime::now_utc()) {
            return self.told(None);
        }
        match verdict {
            Verdict::Told(token) => self.told(token),
            Verdict::Unknown(error) => match known {
                Some(known) if Instant::now() < known.good_until => {
                    self.metrics.validated(Validation::Grace);
                    Ok(known.token)
                }
                _ => {
                    self.metrics.validated(match &*error {
                        AuthError::Busy => Validation::Busy,
                        _ => Validation::Unreachable,
                    });
                    Err(error)
                }
            },
        }
    }

    /// What is known of a token by now; none when keystone does not know it.
    fn told(&self, token: Option<Arc<Token>>) -> Result<Arc<Token>, Arc<AuthError>> {
        let Some(token) = token else {
            self.metrics.validated(Validation::Rejected);
            return Err(AuthError::Rejected.into());
        };
        self.metrics.validated(if self.is_welcome(&token) {
            Validation::Accepted
        } else {
            Validation::WrongCaller
        });
        Ok(token)
    }

    fn is_welcome(&self, token: &Token) -> bool {
        self.policies.iter().any(|policy| token.is_accepted(policy))
    }

    /// Which public keys are in use: a token that others have signed is checked again.
    fn keys(&self) -> u64 {
        self.verifier.as_ref().map_or(0, |keys| keys.generation())
    }

    /// Takes a signature's word for it.
    async fn believe(&self, digest: [u8; 32], claims: Claims, keys: u64) -> Arc<Token> {
        let bare = |id| Named { id, name: None };
        let token = Arc::new(Token {
            user: bare(claims.user_id),
            project: claims.project_id.map(bare),
            roles: Vec::new(),
        });
        self.keep(digest, token.clone(), claims.expires_at, keys)
            .await;
        token
    }

    /// One validation, shared by all who ask about the same token meanwhile.
    async fn fly(
        self: &Arc<Self>,
        online: &Arc<Online>,
        digest: [u8; 32],
        subject: HeaderValue,
        is_known: bool,
        keys: u64,
    ) -> Verdict {
        if is_known && online.rests_until().is_some() {
            return Verdict::Unknown(AuthError::Resting.into());
        }
        let asking = async {
            // Waiting ends with whoever waits: else a flood of tokens would leave a task behind for each.
            let Some(_place) = online.place(is_known).await else {
                return Err::<(), Verdict>(Verdict::Unknown(AuthError::Busy.into()));
            };
            // Nothing else can make an unknown token good, and there may be time.
            if let Some(until) = online.rests_until() {
                tokio::time::sleep_until(until.into()).await;
            }
            let (keystone, online) = (self.clone(), online.clone());
            // Asking does not: when the one who asked first hangs up, its answer is still worth keeping.
            let verdict = Unabandoned::new(async move {
                let asked = Instant::now();
                let answer = Box::pin(online.ask(subject)).await;
                keystone.metrics.asked(asked.elapsed());
                online.note(answer.as_ref().err());
                keystone.record(digest, answer, keys).await
            });
            Err(verdict.await)
        };
        match self.flights.try_get_with(digest, asking).await {
            // Nothing is ever kept there.
            Ok(()) => Verdict::Unknown(AuthError::Resting.into()),
            Err(verdict) => Arc::unwrap_or_clone(verdict),
        }
    }

    /// Keeps what keystone said, for as long as it holds.
    async fn record(
        &self,
        digest: [u8; 32],
        answer: Result<Option<wire::Answer>, AuthError>,
        keys: u64,
    ) -> Verdict {
        let rejected = Stranger {
            token: None,
            until: Instant::now() + self.rejected_for,
        };
        match answer {
            Err(error) => Verdict::Unknown(error.into()),
            Ok(None) => {
                self.welcome.remove(&digest);
                self.strangers.insert(digest, rejected).await;
                Verdict::Told(None)
            }
            Ok(Some(answer)) => {
                let expires_at = answer.expires_at;
                let token = Arc::new(Token::from(answer));
                let good = self.keep(digest, token.clone(), expires_at, keys).await;
                Verdict::Told(good.then_some(token))
            }
        }
    }

    /// Keeps what a token proves, for as long as that is believed. False when it has expired.
    async fn keep(
        &self,
        digest: [u8; 32],
        token: Arc<Token>,
        expires_at: OffsetDateTime,
        keys: u64,
    ) -> bool {
        let Ok(left) = Duration::try_from(expires_at - OffsetDateTime::now_utc()) else {
            return false;
        };
        let now = Instant::now();
        let believed_until = now + self.believed_for.min(left);
        if self.is_welcome(&token) {
            let known = Known {
                token,
                believed_until,
                good_until: now + left.min(self.believed_for + self.grace),
                keys,
            };
            self.welcome.insert(digest, &known);
        } else {
            self.welcome.remove(&digest);
            let stranger = Stranger {
                token: Some(token),
                until: believed_until,
            };
            self.strangers.insert(digest, stranger).await;
        }
        true
    }
}
