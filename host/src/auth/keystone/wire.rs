//! Keystone's tokens and catalogue, as they are spoken.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use super::{AuthError, Error};
use crate::auth::policy::{InDomain, Named, Token};
use crate::{config, trust};

/// Keystone's answer to a validation without the catalogue is under 1 KB, with hundreds of roles a few.
pub(super) const ANSWER_BYTES: usize = 256 * 1024;

/// A catalogue of thirty services in twenty regions has about 300 KB.
pub(super) const CATALOGUE_BYTES: usize = 2 * 1024 * 1024;

/// A client for one keystone.
pub(super) struct Wire {
    client: Client,
    tokens_url: Url,
    catalogue_url: Url,
}

/// `token` of keystone's answer, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) expires_at: OffsetDateTime,
    user: Entity,
    project: Option<Entity>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Entity {
    id: String,
    name: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct Envelope {
    token: Answer,
}

impl Wire {
    pub(super) fn new(
        config: &config::Keystone,
        auth_url: &config::AuthUrl,
    ) -> Result<Self, Error> {
        let mut client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_millis(config.timeout_ms.get().into()));
        if let Some(path) = &config.ca_file {
            client = client.tls_certs_only(trust::authorities(path)?);
        }
        let mut tokens_url = auth_url.at("auth/tokens");
        // A catalogue is several times as long as all the rest.
        tokens_url.set_query(Some("nocatalog"));
        Ok(Self {
            client: client.build().map_err(Error::Client)?,
            tokens_url,
            catalogue_url: auth_url.at("auth/catalog"),
        })
    }

    /// Asks about `subject`, as the owner of `own`.
    pub(super) async fn validate(
        &self,
        own: &HeaderValue,
        subject: &HeaderValue,
    ) -> Result<Response, AuthError> {
        self.client
            .get(self.tokens_url.clone())
            .header("X-Auth-Token", own)
            .header("X-Subject-Token", subject)
            .send()
            .await
            .map_err(|error| self.no_answer(error))
    }

    /// Asks for a token.
    pub(super) async fn log_in(&self, body: &Value) -> Result<Response, AuthError> {
        self.client
            .post(self.tokens_url.clone())
            .json(body)
            .send()
            .await
            .map_err(|error| self.no_answer(error))
    }

    /// Asks where the services are, as the owner of `own`.
    pub(super) async fn catalogue(&self, own: &HeaderValue) -> Result<Response, AuthError> {
        self.client
            .get(self.catalogue_url.clone())
            .header("X-Auth-Token", own)
            .send()
            .await
            .map_err(|error| self.no_answer(error))
    }

    /// Reads a token.
    pub(super) async fn read(&self, response: Response) -> Result<Answer, AuthError> {
        let body = self.whole(response, ANSWER_BYTES).await?;
        let envelope: Envelope = serde_json::from_slice(&body)
            .map_err(|error| AuthError::Nonsense(Error::Body(error)))?;
        Ok(envelope.token)
    }

    /// Reads an answer, within bounds.
    pub(super) async fn whole(
        &self,
        mut response: Response,
        most_bytes: usize,
    ) -> Result<Vec<u8>, AuthError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.no_answer(error))?
        {
            if body.len() + chunk.len() > most_bytes {
                return Err(AuthError::Nonsense(Error::TooLong(most_bytes)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn no_answer(&self, error: reqwest::Error) -> AuthError {
        AuthError::Unreachable(Error::NoAnswer {
            url: self.tokens_url.clone(),
            source: error.without_url(),
        })
    }
}

/// An answer that has no place in the protocol.
pub(super) fn status_error(wire: &Wire, status: StatusCode) -> Error {
    Error::Status {
        url: wire.tokens_url.clone(),
        status,
    }
}

impl Answer {
    pub(super) fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }
}

impl From<Answer> for Token {
    fn from(answer: Answer) -> Self {
        let named = |entity: Entity| Named {
            id: entity.id,
            name: entity.domain.map(|domain| InDomain {
                name: entity.name,
                domain_name: domain.name,
                domain_id: domain.id,
            }),
        };
        Self {
            user: named(answer.user),
            project: answer.project.map(named),
            roles: answer.roles.into_iter().map(|role| role.name).collect(),
        }
    }
}
