//! The gateway's own token, with which it asks about others'.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::wire::{Wire, status_error};
use super::{AuthError, Error};
use crate::config::{self, ApplicationCredential};

/// Our own token is renewed when it has less than this left.
const RENEW_AHEAD: time::Duration = time::Duration::seconds(60);

/// How the gateway logs in, and the token it got.
pub(super) struct Account {
    config: config::Account,
    token: Mutex<Option<OwnToken>>,
}

struct OwnToken {
    id: HeaderValue,
    expires_at: OffsetDateTime,
}

impl Account {
    /// Looks whether the account's secret is there.
    pub(super) fn new(config: config::Account) -> Result<Self, config::SecretError> {
        source(&config).read()?;
        Ok(Self {
            token: Mutex::new(None),
            config,
        })
    }

    /// Our own token; another one than `refused`, when keystone refused that.
    pub(super) async fn token(
        &self,
        wire: &Wire,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, AuthError> {
        // Whoever comes meanwhile waits for the same log-in.
        let mut own = self.token.lock().await;
        if let Some(token) = &*own
            && refused != Some(&token.id)
            && token.expires_at > OffsetDateTime::now_utc() + RENEW_AHEAD
        {
            return Ok(token.id.clone());
        }
        let token = self.log_in(wire).await?;
        let id = token.id.clone();
        *own = Some(token);
        Ok(id)
    }

    async fn log_in(&self, wire: &Wire) -> Result<OwnToken, AuthError> {
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
        let expires_at = wire.read(response).await?.expires_at;
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
