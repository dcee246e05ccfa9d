//! `http`: the plugin's requests, handed to `egress`.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::egress::{self, Credential, Outgoing, Scheme};
use crate::plugin::bindings::vendordock::vendordata::http::{
    AuthScheme, Host, HttpError, IncomingResponse, Method, OutgoingRequest,
};
use crate::plugin::call::{Call, Phase};
use crate::telemetry::metrics::EgressOutcome;

/// Requests of one call.
const MOST_REQUESTS: u32 = 32;

type Answer = wasmtime::Result<Result<IncomingResponse, HttpError>>;

impl Host for Call {
    async fn send(&mut self, request: OutgoingRequest) -> Answer {
        self.allow("http.send", Phase::Provide)?;
        Ok(self.dispatch(request, None).await)
    }

    async fn send_with(
        &mut self,
        request: OutgoingRequest,
        credential: Resource<Credential>,
        scheme: AuthScheme,
    ) -> Answer {
        self.allow("http.send-with", Phase::Provide)?;
        let credential = self.table.get(&credential)?.clone();
        let scheme = match scheme {
            AuthScheme::Bearer => Scheme::Bearer,
            AuthScheme::Basic(user) => Scheme::Basic(user),
            AuthScheme::Header(name) => Scheme::Header(name),
            AuthScheme::FormField(name) => Scheme::FormField(name),
            AuthScheme::Session => Scheme::Session,
            AuthScheme::Negotiate(_) | AuthScheme::ClientCertificate => {
                let reason = "this gateway has no such scheme yet".to_owned();
                return Ok(Err(HttpError::Credential(reason)));
            }
        };
        Ok(self.dispatch(request, Some((credential, scheme))).await)
    }
}

impl Call {
    async fn dispatch(
        &mut self,
        request: OutgoingRequest,
        auth: Option<(Credential, Scheme)>,
    ) -> Result<IncomingResponse, HttpError> {
        self.requests += 1;
        if self.requests > MOST_REQUESTS {
            let metrics = &self.grants.metrics;
            metrics.egress(EgressOutcome::TooMany, Duration::ZERO);
            return Err(HttpError::TooManyRequests);
        }
        let outgoing = Outgoing {
            method: match request.method {
                Method::Get => reqwest::Method::GET,
                Method::Head => reqwest::Method::HEAD,
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
                Method::Patch => reqwest::Method::PATCH,
                Method::Delete => reqwest::Method::DELETE,
                Method::Options => reqwest::Method::OPTIONS,
            },
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout_ms: request.timeout_ms,
            max_redirects: request.max_redirects,
        };
        let answer = self
            .grants
            .egress
            .dispatch(outgoing, auth, self.traceparent.clone(), self.deadline)
            .await;
        match answer {
            Ok(incoming) => Ok(IncomingResponse {
                status: incoming.status,
                headers: incoming.headers,
                body: incoming.body,
            }),
            Err(error) => {
                // The plugin is told less, and may tell nova less still.
                tracing::warn!(
                    "a request of the plugin failed: {}",
                    crate::error::chain(&error)
                );
                Err(error.into())
            }
        }
    }
}

impl From<egress::RequestError> for HttpError {
    fn from(error: egress::RequestError) -> Self {
        use egress::RequestError as E;
        let text = error.to_string();
        match error {
            E::Invalid(_) => Self::InvalidRequest(text),
            E::Denied { .. } => Self::Denied(text),
            E::Credential(_) => Self::Credential(text),
            E::Dns { .. } => Self::Dns(text),
            E::Connect { .. } => Self::Connect(text),
            E::Tls { .. } => Self::Tls(text),
            E::Timeout => Self::Timeout,
            E::TooLarge(limit) => Self::ResponseTooLarge(limit as u64),
            E::Protocol { .. } => Self::Protocol(text),
        }
    }
}
