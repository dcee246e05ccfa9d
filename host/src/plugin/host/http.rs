//! `http`: the plugin's requests, handed to `egress`.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::egress::{self, Body, Credential, Outgoing, Scheme};
use crate::plugin::bindings::vendordock::vendordata::http::{
    AuthScheme, Host, HttpError, IncomingResponse, Method, OutgoingRequest,
};
use crate::plugin::call::{Call, Phase};

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
            AuthScheme::ClientCertificate => Scheme::ClientCertificate,
            AuthScheme::Negotiate(_) => {
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
            body: Body::Whole(request.body.unwrap_or_default().into()),
            timeout: request
                .timeout_ms
                .map(|time| Duration::from_millis(time.into())),
            first_byte_timeout: None,
            max_redirects: request.max_redirects,
        };
        let within = self.within();
        let answer = self.grants.egress.dispatch(outgoing, auth, &within).await;
        let incoming = answer.inspect_err(log_failure)?;
        let headers = incoming.headers.iter();
        Ok(IncomingResponse {
            status: incoming.status,
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
                .collect(),
            body: incoming.body,
        })
    }
}

/// The plugin is told less, and may tell nova less still.
pub(super) fn log_failure(error: &egress::RequestError) {
    tracing::warn!(
        "a request of the plugin failed: {}",
        crate::error::chain(error)
    );
}

impl From<egress::RequestError> for HttpError {
    fn from(error: egress::RequestError) -> Self {
        use egress::RequestError as E;
        let text = error.to_string();
        match error {
            E::Invalid(_) | E::BodyTooLarge { .. } => Self::InvalidRequest(text),
            E::Denied { .. } | E::Address { .. } => Self::Denied(text),
            E::TooMany => Self::TooManyRequests,
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
