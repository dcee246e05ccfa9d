//! Where a plugin may send requests, and how a credential gets on the wire.
//!
//! A plugin has no sockets. `http.send`, `http.send-with` and `wasi:http` end in `Egress::dispatch`, and nothing else leaves
//! the gateway on a plugin's behalf. Each request, and each hop of a redirect, passes `send` there:
//!
//! 1. it is counted;
//! 2. a rule of the target covers its URL and its method;
//! 3. a credential goes to its own origins only, and in the ways that are granted, so that a secret for one upstream cannot be
//!    sent to another that the target may also call. The operator's headers go to theirs;
//! 4. the name is resolved here, and the connection is made to an address that the rule permits (`resolver.rs`);
//! 5. bodies, times and what the call may send in all are bounded.
//!
//! The client is reqwest's. It connects to what our resolver hands it and resolves nothing itself, but for a URL whose host is an
//! address: such a URL is checked here, before. Redirects, where other clients are led past such checks, it is told to leave
//! to us. hyper alone would take the same hooks, and leave us to write pools, cookies and TLS again.
//!
//! Answers are not decompressed, so that what is counted is what takes memory. Cookies that come back from a log-in stay
//! here, by target, credential and origin, as its connections do, until the secret is replaced; the plugin sees neither them nor
//! the secret.

mod clients;
mod credential;
mod failure;
mod headers;
mod hop;
mod proposal;
mod redirect;
mod request;
mod resolver;
mod secret;
mod session;
mod spending;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument as _, Span, field};
use url::{Host, Url};

use self::clients::Clients;
use self::credential::Granted;
pub use self::credential::{Credential, Digest, Scheme};
pub use self::failure::RequestError;
use self::failure::failed;
pub use self::headers::HeaderError;
use self::headers::Headers;
use self::hop::Hop;
pub(crate) use self::request::is_reserved;
pub use self::request::{Body, Incoming, Outgoing, Unfinished};
use self::resolver::Names;
pub use self::secret::Error as SecretError;
use self::secret::Secret;
pub(crate) use self::secret::Version as SecretVersion;
pub use self::spending::Spending;
use crate::config::{self, Origin, Rule, TargetName};
use crate::telemetry::metrics::{EgressOutcome, TargetMetrics};
use crate::telemetry::{trace_context, traces};
use crate::trust;

/// What a plugin has left to say that its upstream did not answer in time. Else the call would end with the plugin to blame.
const TIME_TO_REPORT: Duration = Duration::from_millis(50);

/// One target's way out.
pub struct Egress {
    rules: Vec<Rule>,
    credentials: HashMap<String, Granted>,
    headers: Headers,
    clients: Clients,
    metrics: Arc<TargetMetrics>,
}

/// What a call leaves to its requests.
#[derive(Clone)]
pub struct Within {
    /// What it may send in all.
    pub spending: Arc<Spending>,
    /// For upstreams.
    pub traceparent: Option<Arc<str>>,
    /// Its end.
    pub deadline: Instant,
}

/// Why a target's way out could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret cannot be used.
    #[error("credential `{name}`")]
    Secret {
        /// The credential.
        name: String,
        /// Why.
        source: SecretError,
    },
    /// A header cannot be added.
    #[error("headers `{group}`")]
    Header {
        /// The table of headers.
        group: String,
        /// Why.
        source: HeaderError,
    },
    /// The authority's certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// Those that a rule names cannot be used.
    #[error(transparent)]
    RuleTrust(trust::Error),
    /// A rule's client certificate or its key is not there, or not ours to read.
    #[error("client_certificate: {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// They are damaged.
    #[error(
        "client_certificate: {certificate_file} and {key_file} hold no certificate and key in PEM"
    )]
    Identity {
        /// Where the certificate should be.
        certificate_file: PathBuf,
        /// Where the key should be.
        key_file: PathBuf,
        /// What the client says.
        source: reqwest::Error,
    },
    /// The client could not be built.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// An answer as it came.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Egress {
    /// Reads the target's secrets and certificates, and makes its clients.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub(crate) fn new(
        name: &TargetName,
        target: &config::Target,
        metrics: Arc<TargetMetrics>,
    ) -> Result<Self, Error> {
        Self::with_names(name, target, metrics, Names::new(target.resolve.clone()))
    }

    fn with_names(
        name: &TargetName,
        target: &config::Target,
        metrics: Arc<TargetMetrics>,
        names: Names,
    ) -> Result<Self, Error> {
        let key = format!("targets.{name}");
        let mut credentials = HashMap::new();
        for (name, configured) in &target.credentials {
            let key = format!("{key}.credentials.{name}");
            let granted = Granted::read(key, name, configured);
            let granted = granted.map_err(|source| Error::Secret {
                name: name.clone(),
                source,
            })?;
            credentials.insert(name.clone(), granted);
        }
        Ok(Self {
            rules: target.egress.clone(),
            credentials,
            headers: Headers::read(target, &key)?,
            clients: Clients::new(target, &Arc::new(names))?,
            metrics,
        })
    }

    /// Everything that keeps [`Self::new`] from working: an operator wants to hear of all of it at once.
    pub(crate) fn faults(target: &config::Target) -> Vec<Error> {
        let of_target = target.ca_file.as_deref().into_iter();
        let of_target = of_target.filter_map(|path| trust::authorities(path).err());
        let of_rules = target.egress.iter().filter_map(|rule| {
            let path = rule.connection.ca_file.as_deref()?;
            trust::authorities(path).err()
        });
        let trust = of_target.map(Error::Trust);
        let trust = trust.chain(of_rules.map(Error::RuleTrust));
        let identities = target.egress.iter().filter_map(|rule| {
            let files = rule.connection.client_certificate.as_ref()?;
            clients::identity(files).err()
        });
        let secrets = target.credentials.iter().filter_map(|(name, configured)| {
            let source = Granted::read(String::new(), name, configured).err()?;
            let name = name.clone();
            Some(Error::Secret { name, source })
        });
        let (_, headers) = Headers::read_all(target, "");
        let secrets = secrets.chain(headers);
        trust.chain(identities).chain(secrets).collect()
    }

    /// A credential of this target.
    pub(crate) fn credential(&self, name: &str) -> Option<Credential> {
        self.credentials.get(name).map(Granted::current)
    }

    /// The secrets of this target as they are now, for whoever keeps them out of a text.
    pub(crate) fn secrets(&self) -> Vec<Arc<SecretVersion>> {
        self.all_secrets().map(Secret::current).collect()
    }

    /// Reads the target's secrets again whenever they change, for as long as it is polled.
    pub(crate) async fn follow_secrets(&self) {
        let secrets: Vec<_> = self.all_secrets().collect();
        secret::follow(&secrets).await;
    }

    fn all_secrets(&self) -> impl Iterator<Item = &Secret> {
        let credentials = self.credentials.values().map(Granted::secret);
        credentials.chain(self.headers.secrets())
    }

    /// Sends one request, follows its redirects as far as it asks, and reads the whole answer.
    ///
    /// # Errors
    ///
    /// When the request or a hop of it is not granted, or has no answer.
    pub(crate) async fn dispatch(
        &self,
        outgoing: Outgoing,
        auth: Option<(Credential, Scheme)>,
        within: &Within,
    ) -> Result<Incoming, RequestError> {
        let with_credential = auth.is_some();
        let max_redirects = outgoing.max_redirects;
        let left = within.deadline.checked_sub(TIME_TO_REPORT);
        let left = left.unwrap_or(within.deadline);
        let own = outgoing.timeout.map(|own| Instant::now() + own);
        let deadline = own.map_or(left, |own| own.min(left));
        let first_byte_timeout = outgoing.first_byte_timeout;
        let counted = within.spending.count();
        let hop = counted.and_then(|()| Hop::new(outgoing, auth));
        let mut hop = hop.inspect_err(|error| {
            self.metrics.egress(error.outcome(), Duration::ZERO);
        })?;
        let mut redirects_left = max_redirects;
        let answer = loop {
            let answer = self
                .traced(&mut hop, within, deadline, first_byte_timeout)
                .await?;
            if redirects_left == 0 || !hop.follow(&answer)? {
                break answer;
            }
            redirects_left -= 1;
            within.spending.count()?;
        };
        let mut headers = answer.headers;
        if with_credential {
            headers.remove(SET_COOKIE);
        }
        Ok(Incoming {
            status: answer.status,
            headers,
            body: answer.body,
        })
    }

    /// Sends one hop, and says so in metrics and spans.
    async fn traced(
        &self,
        hop: &mut Hop,
        within: &Within,
        deadline: Instant,
        first_byte_timeout: Option<Duration>,
    ) -> Result<Answer, RequestError> {
        // Where to is told once it is known to be an origin of the configuration, and without the path: either may hold what
        // a plugin made of a tenant's data.
        let span = tracing::info_span!(
            target: traces::SPANS,
            "egress",
            otel.kind = "client",
            http.request.method = hop.method.as_str(),
            server.origin = field::Empty,
            http.response.status_code = field::Empty,
            outcome = field::Empty,
            otel.status_code = field::Empty,
        );
        let traceparent = trace_context::outgoing(&span).or_else(|| within.traceparent.clone());
        let started = Instant::now();
        let sending = self.send(
            hop,
            traceparent,
            &within.spending,
            first_byte_timeout,
            &span,
        );
        let sent = timeout_at(deadline, sending.instrument(span.clone()))
            .await
            .unwrap_or(Err(RequestError::Timeout));
        let outcome = match &sent {
            Ok(answer) => {
                span.record("http.response.status_code", answer.status);
                EgressOutcome::Answered
            }
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                error.outcome()
            }
        };
        span.record("outcome", outcome.as_str());
        self.metrics.egress(outcome, started.elapsed());
        sent
    }

    /// The choke point: whatever a plugin sends passes here.
    async fn send(
        &self,
        hop: &mut Hop,
        traceparent: Option<Arc<str>>,
        spending: &Spending,
        first_byte_timeout: Option<Duration>,
        span: &Span,
    ) -> Result<Answer, RequestError> {
        let origin = Origin::of(&hop.url);
        let shown = origin.to_string();
        let rule = self.rule(&hop.url, &hop.method)?;
        span.record("server.origin", &shown);
        if let Some(address) = literal(&hop.url)
            && !rule.connection.networks.permit(address)
        {
            let addresses = vec![address];
            return Err(refused_address(rule, &hop.url, shown, addresses));
        }
        if let Some((credential, scheme)) = &hop.auth {
            credential.check(scheme, &origin, &self.headers)?;
        }
        let mut body = hop.body.whole(rule.request_bytes, spending).await?;
        let mut headers = hop.headers.clone();
        if let Some(traceparent) = traceparent
            && let Ok(value) = HeaderValue::from_str(&traceparent)
        {
            // A plugin may have spans of its own.
            headers.entry(trace_context::TRACEPARENT).or_insert(value);
        }
        self.headers.add(&origin, &mut headers)?;
        let auth = hop
            .auth
            .as_ref()
            .map(|(credential, scheme)| (credential, scheme));
        if let Some((credential, scheme)) = auth {
            let mut with_secret = Vec::from(body);
            credential.place(scheme, &mut headers, &mut with_secret)?;
            body = Bytes::from(with_secret);
        }
        let client = self.clients.get(&rule.connection, auth, &origin);
        let client = client.map_err(|error| {
            tracing::error!("{}", crate::error::chain(&error));
            RequestError::Credential("the gateway cannot make a client for it")
        })?;
        let _place = spending.place().await?;
        let request = client
            .request(hop.method.clone(), hop.url.clone())
            .headers(headers)
            .body(body)
            .send();
        let of_rule = rule.first_byte_timeout_ms.map(milliseconds);
        let first_byte = [first_byte_timeout, of_rule].into_iter().flatten().min();
        let exchange = async {
            let response = match first_byte {
                Some(time) => timeout(time, request)
                    .await
                    .map_err(|_elapsed| RequestError::Timeout)?,
                None => request.await,
            };
            answer(response, rule, spending, &shown).await
        };
        let answered = match rule.timeout_ms.map(milliseconds) {
            Some(time) => timeout(time, exchange)
                .await
                .unwrap_or(Err(RequestError::Timeout)),
            None => exchange.await,
        };
        answered.map_err(|error| match error {
            RequestError::Address { origin, addresses } => {
                refused_address(rule, &hop.url, origin, addresses)
            }
            error => error,
        })
    }

    /// The first rule that covers a request.
    fn rule(&self, url: &Url, method: &Method) -> Result<&Rule, RequestError> {
        let covers = |rule: &&Rule| rule.to.covers(url) && rule.has_method(method);
        if let Some(rule) = self.rules.iter().find(covers) {
            return Ok(rule);
        }
        let shown = Origin::of(url).to_string();
        let known = |rule: &Rule| rule.to.covers_origin_of(url);
        let what = if !self.rules.iter().any(known) {
            shown.clone()
        } else if self.rules.iter().any(|rule| rule.to.covers(url)) {
            format!("{method} to {shown}")
        } else {
            format!("this path of {shown}")
        };
        match proposal::to_add(&self.rules, url, method) {
            Some(rule) => tracing::warn!(
                origin = %shown,
                "refused a request of the plugin; to permit it, add {rule} to the target's egress"
            ),
            None => {
                tracing::warn!(origin = %shown, "refused a request of the plugin; no rule can permit it");
            }
        }
        Err(RequestError::Denied { what })
    }
}

/// The address that stands in a URL in place of a name. The client asks no resolver about it.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

fn refused_address(rule: &Rule, url: &Url, origin: String, addresses: Vec<IpAddr>) -> RequestError {
    let leads_to = resolver::shown(&addresses);
    match proposal::in_place_of(rule, url, &addresses) {
        Some(would_do) => tracing::warn!(
            %origin,
            "refused a request of the plugin: {origin} leads to {leads_to}; to permit it, put {would_do} in place of {rule} in \
             the target's egress"
        ),
        None => tracing::warn!(
            %origin,
            "refused a request of the plugin: {origin} leads to {leads_to}; no rule can permit it"
        ),
    }
    RequestError::Address { origin, addresses }
}

/// Reads an answer within the bounds of its rule and its call.
async fn answer(
    response: reqwest::Result<reqwest::Response>,
    rule: &Rule,
    spending: &Spending,
    origin: &str,
) -> Result<Answer, RequestError> {
    let mut response = response.map_err(|error| failed(error, origin))?;
    let too_large = || RequestError::TooLarge(rule.response_bytes);
    let limit = u64::try_from(rule.response_bytes).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(error, origin))?
    {
        if body.len() + chunk.len() > rule.response_bytes {
            return Err(too_large());
        }
        spending.receive(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

fn milliseconds(time: std::num::NonZeroU32) -> Duration {
    Duration::from_millis(time.get().into())
}
