//! Where a plugin may connect, and how a credential gets on the wire.
//!
//! A plugin has no sockets: `http.send` and `http.send-with` end here, and nothing else leaves the gateway on its
//! behalf. Every request is checked against the target's origins first. A credential is checked against its own origins as
//! well, so that a secret for one upstream cannot be sent to another that the target may also call.
//!
//! Redirects are handed back to the plugin. If it follows one, that is a new request, checked anew.
//!
//! Connections are shared by the calls of one target, and by nothing else. Cookies that come back from a log-in
//! stay here, by target, credential and origin; the plugin sees neither them nor the secret.

mod credential;
mod failure;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};
use url::Url;

pub use self::credential::{Credential, Scheme};
pub use self::failure::RequestError;
use self::failure::failed;
use self::session::Session;
use crate::config::{self, Origin};
use crate::telemetry::metrics::{EgressOutcome, TargetMetrics};
use crate::telemetry::{trace_context, traces};
use crate::trust;

/// The longest answer of an upstream.
const RESPONSE_BYTES: usize = 1 << 20;

/// The longest request body of a plugin.
const REQUEST_BYTES: usize = 1 << 20;

/// What a plugin has left when its upstream did not answer in time, to say so: else the call would end at its deadline
/// with the plugin to blame.
const TIME_TO_REPORT: Duration = Duration::from_millis(50);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the gateway sets itself, or what concerns one connection only. A plugin that could set these could
/// speak for another host or smuggle a second request.
const RESERVED_HEADERS: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One target's way out.
pub struct Egress {
    origins: Vec<Origin>,
    credentials: HashMap<String, Credential>,
    anonymous: Client,
    /// A client with a cookie jar of its own for each credential and each of its origins.
    sessions: HashMap<(String, Origin), Client>,
    metrics: Arc<TargetMetrics>,
}

/// Why a target's way out could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret cannot be read.
    #[error("credential `{name}`")]
    Secret {
        /// The credential.
        name: String,
        /// Why.
        source: config::SecretError,
    },
    /// The authority's certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// The client could not be built.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A plugin's request.
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Absolute.
    pub url: String,
    /// The plugin's own headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Option<Vec<u8>>,
    /// The plugin's own limit; the deadline of the call holds on top.
    pub timeout_ms: Option<u32>,
    /// How many redirects the plugin wants followed.
    pub max_redirects: u8,
}

/// An upstream's answer.
pub struct Incoming {
    /// The status code.
    pub status: u16,
    /// All headers; without `Set-Cookie` when a credential was used.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Egress {
    /// Reads the target's secrets and certificates, and makes its clients.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub(crate) fn new(target: &config::Target, metrics: Arc<TargetMetrics>) -> Result<Self, Error> {
        let certificates = match &target.ca_file {
            Some(path) => Some(trust::authorities(path)?),
            None => None,
        };
        let builder = || {
            let builder = Client::builder()
                // A redirect is the plugin's to follow, and the environment's proxies are not the target's origins.
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT);
            match &certificates {
                Some(certificates) => builder.tls_certs_only(certificates.clone()),
                None => builder,
            }
        };
        let mut credentials = HashMap::new();
        let mut sessions = HashMap::new();
        for (name, configured) in &target.credentials {
            let credential =
                Credential::read(name, configured).map_err(|source| Error::Secret {
                    name: name.clone(),
                    source,
                })?;
            for origin in &configured.origins {
                let session = Arc::new(Session::default());
                let client = builder()
                    .cookie_provider(session)
                    .build()
                    .map_err(Error::Client)?;
                sessions.insert((name.clone(), origin.clone()), client);
            }
            credentials.insert(name.clone(), credential);
        }
        Ok(Self {
            origins: target.egress.clone(),
            credentials,
            anonymous: builder().build().map_err(Error::Client)?,
            sessions,
            metrics,
        })
    }

    /// Everything that keeps [`Self::new`] from working: an operator wants to hear of all of it at once.
    pub(crate) fn faults(target: &config::Target) -> Vec<Error> {
        let authorities = target.ca_file.as_deref().map(trust::authorities);
        let trust = authorities.and_then(Result::err).map(Error::Trust);
        let secrets = target.credentials.iter().filter_map(|(name, credential)| {
            let source = credential.secret.read().err()?;
            let name = name.clone();
            Some(Error::Secret { name, source })
        });
        trust.into_iter().chain(secrets).collect()
    }

    /// A credential of this target.
    pub(crate) fn credential(&self, name: &str) -> Option<Credential> {
        self.credentials.get(name).cloned()
    }

    /// Sends one request and reads the whole answer, before `deadline`.
    ///
    /// # Errors
    ///
    /// When the request is not granted, or has no answer.
    pub(crate) async fn dispatch(
        &self,
        outgoing: Outgoing,
        auth: Option<(Credential, Scheme)>,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<Incoming, RequestError> {
        // Where to is told once it is known to be an origin of the configuration, and without the path: either may hold what
        // a plugin made of a tenant's data.
        let span = tracing::info_span!(
            target: traces::SPANS,
            "egress",
            otel.kind = "client",
            http.request.method = outgoing.method.as_str(),
            server.origin = field::Empty,
            http.response.status_code = field::Empty,
            outcome = field::Empty,
            otel.status_code = field::Empty,
        );
        let traceparent = trace_context::outgoing(&span).or(traceparent);
        let started = Instant::now();
        let exchanged = self
            .exchange(outgoing, auth, traceparent, deadline, &span)
            .instrument(span.clone())
            .await;
        let outcome = match &exchanged {
            Ok(incoming) => {
                span.record("http.response.status_code", incoming.status);
                EgressOutcome::Answered
            }
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                error.outcome()
            }
        };
        span.record("outcome", outcome.as_str());
        self.metrics.egress(outcome, started.elapsed());
        exchanged
    }

    async fn exchange(
        &self,
        outgoing: Outgoing,
        auth: Option<(Credential, Scheme)>,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
        span: &Span,
    ) -> Result<Incoming, RequestError> {
        let url = checked_url(&outgoing.url)?;
        let shown = url.origin().ascii_serialization();
        let Some(origin) = self.origins.iter().find(|origin| origin.covers(&url)) else {
            tracing::warn!(origin = %shown, "refused a request of the plugin; to permit it, add \"{shown}\" to the target's egress");
            return Err(RequestError::Denied { what: shown });
        };
        span.record("server.origin", &shown);
        if outgoing.max_redirects > 0 {
            let message =
                "this gateway follows no redirects yet: ask for 0 and follow them yourself";
            return Err(RequestError::Invalid(message.to_owned()));
        }
        let mut headers = checked_headers(outgoing.headers)?;
        if let Some(traceparent) = traceparent
            && let Ok(value) = HeaderValue::from_str(&traceparent)
        {
            // A plugin may have spans of its own.
            headers.entry(trace_context::TRACEPARENT).or_insert(value);
        }
        let mut body = outgoing.body.unwrap_or_default();
        if body.len() > REQUEST_BYTES {
            let message = format!("the body is longer than {REQUEST_BYTES} bytes");
            return Err(RequestError::Invalid(message));
        }
        let mut client = &self.anonymous;
        if let Some((credential, scheme)) = &auth {
            if !credential.may_go_to(origin) {
                let what = format!("credential `{}` at {shown}", credential.name());
                tracing::warn!(origin = %shown, credential = credential.name(), "refused to send a credential there; to permit it, add \"{shown}\" to its origins");
                return Err(RequestError::Denied { what });
            }
            if scheme.has_session() {
                let key = (credential.name().to_owned(), origin.clone());
                client = self.sessions.get(&key).unwrap_or(client);
            }
            credential.place(scheme, &mut headers, &mut body)?;
        }
        let left = deadline.saturating_duration_since(Instant::now() + TIME_TO_REPORT);
        let timeout = outgoing
            .timeout_ms
            .map_or(left, |own| left.min(Duration::from_millis(own.into())));
        let request = client
            .request(outgoing.method, url)
            .headers(headers)
            .body(body)
            .timeout(timeout);
        let mut response = request
            .send()
            .await
            .map_err(|error| failed(error, &shown))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = whole(response, &shown).await?;
        Ok(Incoming {
            status,
            headers: handed_over(headers, auth.is_some()),
            body,
        })
    }
}

fn checked_url(text: &str) -> Result<Url, RequestError> {
    let invalid = |reason: &str| RequestError::Invalid(format!("the URL {reason}"));
    let mut url = Url::parse(text).map_err(|error| invalid(&format!("is wrong: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(invalid("has a scheme other than https and http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("holds user information"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn checked_headers(headers: Vec<(String, Vec<u8>)>) -> Result<HeaderMap, RequestError> {
    let mut checked = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let invalid = || RequestError::Invalid(format!("the header {name:?} is no header"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_bad| invalid())?;
        let value = HeaderValue::from_bytes(&value).map_err(|_bad| invalid())?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            let message = format!("the header `{header}` is the gateway's to set");
            return Err(RequestError::Invalid(message));
        }
        checked.append(header, value);
    }
    Ok(checked)
}

async fn whole(mut response: reqwest::Response, origin: &str) -> Result<Vec<u8>, RequestError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(error, origin))?
    {
        if body.len() + chunk.len() > RESPONSE_BYTES {
            return Err(RequestError::TooLarge(RESPONSE_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn handed_over(headers: HeaderMap, with_credential: bool) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .filter(|(name, _)| !(with_credential && *name == reqwest::header::SET_COOKIE))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_cannot_speak_for_another_host_or_smuggle_a_request() {
        for (name, value) in [
            ("Host", &b"other.example.test"[..]),
            ("content-length", b"0"),
            ("Transfer-Encoding", b"chunked"),
            ("Authorization", b"Basic x"),
            ("Cookie", b"a=b"),
            ("X-Fine", b"a\r\nHost: other"),
            ("X Space", b"a"),
            ("", b"a"),
        ] {
            let headers = vec![(name.to_owned(), value.to_vec())];
            assert!(checked_headers(headers).is_err(), "{name}");
        }
        let fine = vec![(
            "Referer".to_owned(),
            b"https://ipa.example.test/ipa".to_vec(),
        )];
        assert!(checked_headers(fine).is_ok());
    }

    #[test]
    fn a_url_with_a_user_or_another_scheme_is_refused() {
        for url in [
            "https://user@host/",
            "https://u:p@host/",
            "file:///etc/passwd",
            "/relative",
            "",
        ] {
            assert!(
                matches!(checked_url(url), Err(RequestError::Invalid(_))),
                "{url}"
            );
        }
    }
}
