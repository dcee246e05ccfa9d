//! The gateway's own account at one keystone, and the token that it got: for all that the gateway asks of this cloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::wire::{CATALOGUE_BYTES, Wire, status_error};
use super::{AuthError, Error};
use crate::config::{self, ApplicationCredential};

/// Our own token is renewed when it has less than this left.
const RENEW_AHEAD: time::Duration = time::Duration::seconds(60);

/// After a log-in that failed, those who wait for it are told so, and the next one is tried when this is over.
const REST: Duration = Duration::from_millis(500);

/// How the gateway logs in, and the token it got.
pub struct Account {
    pub(super) wire: Wire,
    config: config::Account,
    token: Mutex<Held>,
    is_admin: AtomicBool,
}

#[derive(Default)]
struct Held {
    token: Option<OwnToken>,
    rests_until: Option<Instant>,
}

struct OwnToken {
    id: HeaderValue,
    expires_at: OffsetDateTime,
}

impl Account {
    /// Reads the authority's certificates, and looks whether the account's secret is there.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub fn new(config: &config::Keystone) -> Result<Arc<Self>, Error> {
        let (Some(auth_url), Some(account)) = (&config.auth_url, config.account()) else {
            return Err(Error::Incomplete);
        };
        let wire = Wire::new(config, auth_url)?;
        source(&account).read().map_err(Error::Secret)?;
        Ok(Arc::new(Self {
            wire,
            config: account,
            token: Mutex::default(),
            is_admin: AtomicBool::new(false),
        }))
    }

    /// Our own token; another one than `refused`, when somebody refused that.
    ///
    /// # Errors
    ///
    /// When keystone gives none.
    pub async fn token(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, AuthError> {
        // Whoever comes meanwhile waits for the same log-in.
        let mut held = self.token.lock().await;
        if let Some(token) = &held.token
            && refused != Some(&token.id)
            && token.expires_at > OffsetDateTime::now_utc() + RENEW_AHEAD
        {
            return Ok(token.id.clone());
        }
        // And fails with it: to try once for each would take as many times as long.
        if held.rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(AuthError::Resting);
        }
        match self.log_in().await {
            Ok(token) => {
                let id = token.id.clone();
                held.token = Some(token);
                Ok(id)
            }
            Err(error) => {
                held.rests_until = Some(Instant::now() + REST);
                Err(error)
            }
        }
    }

    /// Whether the last token had the role `admin`, without which services say that what is another project's is not
    /// there.
    pub fn is_admin(&self) -> bool {
        self.is_admin.load(Ordering::Relaxed)
    }

    /// Where the cloud's services are, in keystone's words.
    ///
    /// # Errors
    ///
    /// When keystone does not say.
    pub async fn catalogue(&self) -> Result<Vec<u8>, AuthError> {
        let own = self.token(None).await?;
        let mut response = self.wire.catalogue(&own).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let own = self.token(Some(&own)).await?;
            response = self.wire.catalogue(&own).await?;
        }
        let status = response.status();
        match status {
            StatusCode::OK => self.wire.whole(response, CATALOGUE_BYTES).await,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(AuthError::Account(status_error(&self.wire, status)))
            }
            _ => Err(AuthError::Unreachable(status_error(&self.wire, status))),
        }
    }

    async fn log_in(&self) -> Result<OwnToken, AuthError> {
        let wire = &self.wire;
        // Read each time, which is once an hour, so that a new password needs no restart.
        let secret = source(&self.config)
            .read()
            .map_err(|error| AuthError::Account(Error::Secret(error)))?;
        let response = wire.log_in(&self.body(&secret)).await?;
        let status = response.status();
        if status != StatusCode::CREATED {
            let error = status_error(wire, status);
            // 429 and 408 are a keystone that is busy, not one that refuses.
            let refused = status.is_client_error()
                && status != StatusCode::TOO_MANY_REQUESTS
                && status != StatusCode::REQUEST_TIMEOUT;
            return Err(if refused {
                AuthError::Account(error)
            } else {
                AuthError::Unreachable(error)
            });
        }
        let mut id = response
            .headers()
            .get("X-Subject-Token")
            .cloned()
            .ok_or(AuthError::Nonsense(Error::NoSubjectToken))?;
        id.set_sensitive(true);
        let answer = wire.read(response).await?;
        self.is_admin
            .store(answer.has_role("admin"), Ordering::Relaxed);
        let expires_at = answer.expires_at;
        Ok(OwnToken { id, expires_at })
    }

    fn body(&self, secret: &SecretString) -> Value {
        let secret = secret.expose_secret();
        match &self.config {
            config::Account::Password {
                username,
                user_domain_name,
                project_name,
                project_domain_name,
                ..
            } => json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": {
                    "name": username,
                    "domain": {"name": user_domain_name},
                    "password": secret,
                }}},
                "scope": {"project": {
                    "name": project_name,
                    "domain": {"name": project_domain_name},
                }},
            }}),
            // An application credential has its project with it, and keystone refuses a scope beside it.
            config::Account::ApplicationCredential { identity, .. } => {
                let credential = match identity {
                    ApplicationCredential::Id(id) => json!({"id": id, "secret": secret}),
                    ApplicationCredential::Name {
                        name,
                        username,
                        user_domain_name,
                    } => json!({
                        "name": name,
                        "secret": secret,
                        "user": {"name": username, "domain": {"name": user_domain_name}},
                    }),
                };
                json!({"auth": {"identity": {
                    "methods": ["application_credential"],
                    "application_credential": credential,
                }}})
            }
        }
    }
}

/// Where the account's secret is.
pub(super) fn source(account: &config::Account) -> &config::SecretSource {
    match account {
        config::Account::Password { password, .. } => password,
        config::Account::ApplicationCredential { secret, .. } => secret,
    }
}
