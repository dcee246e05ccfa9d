//! A token validated by keystone.
//!
//! `GET /v3/auth/tokens` with the token as subject and the gateway's own as proof. A token that keystone does not know is a
//! 404; a 401 concerns our own, which is renewed once. Keystone takes most of a second for a validation, and nova
//! uses one token for an hour: results are kept, by the token's SHA-256 so that a dump of memory holds no token,
//! and never beyond the token's expiry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use url::Url;

use super::{Caller, Error as AuthError};
use crate::unabandoned::Unabandoned;
use crate::{config, trust};

/// Our own token is renewed when it has less than this left.
const RENEW_AHEAD: Duration = Duration::from_secs(60);

/// Longer than any kind of keystone token; a header may not make us hash megabytes.
const LONGEST_TOKEN_BYTES: usize = 8 * 1024;

/// Keystone's answer to a validation without the catalogue is under 1 KB, with hundreds of roles a few.
const ANSWER_BYTES: usize = 256 * 1024;

/// One keystone, with what it said before.
pub struct Keystone {
    client: Client,
    tokens_url: Url,
    config: config::Keystone,
    password: SecretString,
    own: Mutex<Option<OwnToken>>,
    known: Cache<[u8; 32], Arc<Validated>>,
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
    /// The gateway's password cannot be read.
    #[error(transparent)]
    Password(config::SecretError),
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
    #[error("the answer is longer than {ANSWER_BYTES} bytes")]
    TooLong,
    /// A token came without its id.
    #[error("the answer has no X-Subject-Token")]
    NoSubjectToken,
}

struct OwnToken {
    id: HeaderValue,
    expires_at: OffsetDateTime,
}

/// What is known of a token.
struct Validated {
    verdict: Result<Arc<Caller>, Arc<AuthError>>,
    good_for: Duration,
}

/// `token` of keystone's answer, as far as it matters here.
#[derive(Deserialize)]
struct Token {
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
    domain: Option<Box<Named>>,
}

#[derive(Deserialize)]
struct Envelope {
    token: Token,
}

impl Keystone {
    /// Reads the account's password and the authority's certificates. Keystone itself is not asked yet: the gateway
    /// starts without it.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub fn new(config: &config::Keystone, remembered: u64) -> Result<Self, Error> {
        let mut client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_millis(config.timeout_ms.get().into()));
        if let Some(path) = &config.ca_file {
            client = client.tls_certs_only(trust::authorities(path)?);
        }
        Ok(Self {
            client: client.build().map_err(Error::Client)?,
            tokens_url: config.auth_url.tokens(),
            password: config.password.read().map_err(Error::Password)?,
            config: config.clone(),
            own: Mutex::new(None),
            known: Cache::builder()
                .max_capacity(remembered)
                .expire_after(WhileGood)
                .build(),
        })
    }

    /// Everything that keeps [`Self::new`] from working: an operator wants to hear of all of it at once.
    pub(crate) fn faults(config: &config::Keystone) -> Vec<Error> {
        let authorities = config.ca_file.as_deref().map(trust::authorities);
        let trust = authorities.and_then(Result::err).map(Error::Trust);
        let password = config.password.read().err().map(Error::Password);
        trust.into_iter().chain(password).collect()
    }

    /// The caller behind a token.
    ///
    /// # Errors
    ///
    /// When the token is not good, or its caller is not accepted, or nothing can be known of it. Failures of the last
    /// kind are not remembered, and refusals of tokens that keystone does not know are not either.
    pub async fn validate(self: &Arc<Self>, token: &[u8]) -> Result<Arc<Caller>, Arc<AuthError>> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return Err(AuthError::Rejected.into());
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(validated) = self.known.get(&digest).await {
            return validated.verdict.clone();
        }
        let Ok(mut subject) = HeaderValue::from_bytes(token) else {
            return Err(AuthError::Rejected.into());
        };
        subject.set_sensitive(true);
        let keystone = self.clone();
        // When the one who asked first hangs up, the others still get the answer.
        let asking = Unabandoned::new(async move {
            let ask = Box::pin(keystone.ask_and_renew(subject));
            keystone.known.try_get_with(digest, ask).await
        });
        match asking.await {
            Ok(validated) => validated.verdict.clone(),
            Err(error) => Err(Arc::unwrap_or_clone(error)),
        }
    }

    async fn ask_and_renew(&self, subject: HeaderValue) -> Result<Arc<Validated>, Arc<AuthError>> {
        let own = self.own_token(None).await?;
        let mut response = self.ask(&own, &subject).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Ours was revoked, or keystone's keys were rotated.
            let own = self.own_token(Some(&own)).await?;
            response = self.ask(&own, &subject).await?;
        }
        let status = response.status();
        let unexpected = || Error::Status {
            url: self.tokens_url.clone(),
            status,
        };
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(AuthError::Rejected.into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(AuthError::Account(unexpected()).into());
            }
            _ => return Err(AuthError::Unreachable(unexpected()).into()),
        }
        let Envelope { token } = self.read(response).await?;
        let left = token.expires_at - OffsetDateTime::now_utc();
        let Ok(left) = Duration::try_from(left) else {
            return Err(AuthError::Rejected.into());
        };
        Ok(Arc::new(Validated {
            verdict: accepted(token, &self.config.accept),
            good_for: left.min(Duration::from_millis(self.config.token_cache_ms.into())),
        }))
    }

    async fn ask(
        &self,
        own: &HeaderValue,
        subject: &HeaderValue,
    ) -> Result<reqwest::Response, AuthError> {
        let mut url = self.tokens_url.clone();
        url.set_query(Some("nocatalog"));
        self.client
            .get(url)
            .header("X-Auth-Token", own)
            .header("X-Subject-Token", subject)
            .send()
            .await
            .map_err(|error| self.no_answer(error))
    }

    /// Our own token; another one than `refused`, when keystone refused that.
    async fn own_token(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, AuthError> {
        let mut own = self.own.lock().await;
        if let Some(token) = &*own
            && refused != Some(&token.id)
            && token.expires_at > OffsetDateTime::now_utc() + RENEW_AHEAD
        {
            return Ok(token.id.clone());
        }
        let token = self.log_in().await?;
        let id = token.id.clone();
        *own = Some(token);
        Ok(id)
    }

    async fn log_in(&self) -> Result<OwnToken, AuthError> {
        let config = &self.config;
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": config.username,
                "domain": {"name": config.user_domain_name},
                "password": self.password.expose_secret(),
            }}},
            "scope": {"project": {
                "name": config.project_name,
                "domain": {"name": config.project_domain_name},
            }},
        }});
        let mut url = self.tokens_url.clone();
        url.set_query(Some("nocatalog"));
        let response = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .map_err(|error| self.no_answer(error))?;
        let status = response.status();
        if status != StatusCode::CREATED {
            let error = Error::Status {
                url: self.tokens_url.clone(),
                status,
            };
            return Err(if status.is_client_error() {
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
        let Envelope { token } = self.read(response).await?;
        let expires_at = token.expires_at;
        Ok(OwnToken { id, expires_at })
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Envelope, AuthError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.no_answer(error))?
        {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(AuthError::Nonsense(Error::TooLong));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| AuthError::Nonsense(Error::Body(error)))
    }

    fn no_answer(&self, error: reqwest::Error) -> AuthError {
        AuthError::Unreachable(Error::NoAnswer {
            url: self.tokens_url.clone(),
            source: error.without_url(),
        })
    }
}

fn accepted(token: Token, policy: &config::Policy) -> Result<Arc<Caller>, Arc<AuthError>> {
    let role = token
        .roles
        .iter()
        .any(|role| policy.roles.contains(&role.name));
    let project = token.project.as_ref().is_some_and(|project| {
        policy.projects.iter().any(|wanted| match wanted {
            config::Project::Id(id) => *id == project.id,
            config::Project::Name { name, domain } => {
                *name == project.name
                    && project
                        .domain
                        .as_ref()
                        .is_some_and(|own| *domain == own.name || *domain == own.id)
            }
        })
    });
    if role && project {
        return Ok(Arc::new(Caller {
            user_id: token.user.id,
            project_id: token.project.map(|project| project.id),
        }));
    }
    let project = token.project.map_or("(none)".to_owned(), |project| {
        let domain = project.domain.map_or(String::new(), |domain| domain.name);
        format!("{} of domain {domain}", project.name)
    });
    Err(Arc::new(AuthError::WrongCaller {
        user_id: token.user.id,
        roles: token.roles.into_iter().map(|role| role.name).collect(),
        project,
    }))
}

/// Each token has its own end.
struct WhileGood;

impl Expiry<[u8; 32], Arc<Validated>> for WhileGood {
    fn expire_after_create(
        &self,
        _digest: &[u8; 32],
        validated: &Arc<Validated>,
        _now: Instant,
    ) -> Option<Duration> {
        Some(validated.good_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: &str, project: serde_json::Value) -> Token {
        serde_json::from_value(json!({
            "expires_at": "2026-11-20T11:21:16.000000Z",
            "user": {"id": "u1", "name": "nova", "domain": {"id": "default", "name": "Default"}},
            "project": project,
            "roles": [{"id": "r0", "name": "reader"}, {"id": "r1", "name": role}],
        }))
        .expect("what keystone sends")
    }

    fn project(id: &str, name: &str, domain: &str) -> serde_json::Value {
        json!({"id": id, "name": name, "domain": {"id": domain.to_lowercase(), "name": domain}})
    }

    #[test]
    fn a_token_passes_with_an_accepted_role_in_an_accepted_project_only() {
        let policy = config::Policy::default();
        let passes = |role, project| accepted(token(role, project), &policy).is_ok();

        assert!(passes("service", project("p1", "service", "Default")));
        assert!(!passes("member", project("p1", "service", "Default")));
        assert!(!passes("admin", project("p2", "demo", "Default")));
        assert!(!passes("service", project("p2", "demo", "Default")));
        assert!(
            !passes("service", project("p3", "service", "Tenants")),
            "a domain's owner names projects as he likes"
        );
        assert!(!passes("service", json!(null)));
    }

    #[test]
    fn a_project_can_be_named_by_id() {
        let policy = config::Policy {
            roles: vec!["admin".to_owned()],
            projects: vec![config::Project::Id("p9".to_owned())],
        };
        assert!(accepted(token("admin", project("p9", "any", "Any")), &policy).is_ok());
        assert!(accepted(token("admin", project("p8", "p9", "Any")), &policy).is_err());
    }
}
