//! One question, asked of the service that knows.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::directory::Directory;
use super::{Failure, Question};
use crate::auth::Account;

/// The longest answer. A server of nova's has some kilobytes, an image with all its properties hardly more.
const ANSWER_BYTES: usize = 1 << 20;

/// How the services of one cloud are asked.
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) account: Arc<Account>,
    pub(super) directory: Arc<Directory>,
}

impl Wire {
    /// What the service says; none when it knows no such thing.
    pub(super) async fn ask(&self, question: &Question) -> Result<Option<Value>, Failure> {
        let own = self.account.token(None).await.map_err(Failure::Account)?;
        let service = self.directory.find(question.kind().service()).await?;
        let origin = || service.origin().ascii_serialization();
        let mut response = self.send(question, &service, &own).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Revoked, or keystone's keys were rotated.
            let own = self.account.token(Some(&own)).await;
            let own = own.map_err(Failure::Account)?;
            response = self.send(question, &service, &own).await?;
        }
        match response.status() {
            StatusCode::OK => {
                let body = whole(response, &origin()).await?;
                let body = serde_json::from_slice(&body).map_err(|source| Failure::Body {
                    origin: origin(),
                    source,
                })?;
                let answer = question.answer(body);
                let answer = answer.ok_or_else(|| Failure::Nonsense { origin: origin() })?;
                Ok(Some(answer))
            }
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => Err(Failure::Refused { origin: origin() }),
            StatusCode::FORBIDDEN => Err(Failure::Forbidden { origin: origin() }),
            status => Err(Failure::Status {
                origin: origin(),
                status,
            }),
        }
    }

    async fn send(
        &self,
        question: &Question,
        service: &Url,
        own: &HeaderValue,
    ) -> Result<Response, Failure> {
        let mut request = self
            .client
            .get(question.url(service))
            .header("Accept", "application/json")
            .header("X-Auth-Token", own);
        if let Some(version) = question.version() {
            request = request.header("OpenStack-API-Version", version);
        }
        let sent = request.send().await;
        sent.map_err(|error| no_answer(error, &service.origin().ascii_serialization()))
    }
}

async fn whole(mut response: Response, origin: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| no_answer(error, origin))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(Failure::TooLong {
                origin: origin.to_owned(),
                most: ANSWER_BYTES,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn no_answer(error: reqwest::Error, origin: &str) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    Failure::NoAnswer {
        origin: origin.to_owned(),
        // It holds what a plugin made of a tenant's data.
        source: error.without_url(),
    }
}
