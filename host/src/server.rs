//! The routes, and what is the same for every request: its id, its log line, its end.

mod connection;
pub mod listener;
mod pace;
mod peer;
mod serving;
pub mod systemd;
pub mod tls;
mod unread;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

pub use self::peer::PeerCertificate;
pub use self::serving::{Entrance, serve};
use crate::auth::Caller;
use crate::cache::Kept;
use crate::config::{OnFailure, Policy};
use crate::dispatch::{Cloud, Gateway, Post, Readiness, Target};
use crate::error::{Error, Fault, chain};
use crate::telemetry::metrics::{CacheState, Requests, TargetMetrics};
use crate::telemetry::{AUDIT, trace_context};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// Whose fault it is that an answer has nothing in it.
const FAILURE: HeaderName = HeaderName::from_static("x-vendordock-failure");

/// The target that novajoin's users reach at `/v1/`.
const NOVAJOIN_TARGET: &str = "join";

/// The cloud whose targets are reached without naming it.
const UNNAMED_CLOUD: &str = "default";

/// For what happens before the target, and with it its own timeout, is known.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);

/// The module of the lines in the log that tell of requests, one each; for `log.filter`.
const REQUESTS: &str = "vendordock::requests";

/// Who asked what.
struct Asked<'a> {
    caller: &'a Caller,
    cloud: &'a str,
    target: &'a str,
    metrics: &'a TargetMetrics,
}

/// A request's name and moment. Every handler takes one, and answers through it, so that every answer carries the id.
struct Arrival {
    request_id: RequestId,
    at: Instant,
}

/// `req-` and a UUID, as all of OpenStack has it. In place, since every request has one.
struct RequestId([u8; 40]);

/// All routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1", post(novajoin))
        .route("/v1/", post(novajoin))
        .route("/v1/{target}", post(in_unnamed_cloud))
        .route("/v1/{cloud}/{target}", post(in_cloud))
        .route("/{target}", post(in_unnamed_cloud))
        .route(
            "/healthz",
            get(async |arrival: Arrival| arrival.named("ok\n")),
        )
        .route("/readyz", get(readiness))
        .method_not_allowed_fallback(
            async |arrival: Arrival, State(gateway): State<Arc<Gateway>>, uri: Uri| {
                let only = if matches!(uri.path(), "/healthz" | "/readyz") {
                    "GET"
                } else {
                    "POST"
                };
                let span = arrival.span("", "");
                arrival.refuse(&gateway.no_cloud, &span, &Error::Method(only))
            },
        )
        .fallback(
            async |arrival: Arrival, State(gateway): State<Arc<Gateway>>| {
                arrival.no_such_path(&gateway)
            },
        )
        .with_state(gateway)
}

/// `/readyz`, for those who run the gateway.
pub fn readiness_route(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/readyz", get(readiness))
        .with_state(gateway)
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            request_id: RequestId::new(),
            at: Instant::now(),
        })
    }
}

impl RequestId {
    fn new() -> Self {
        let mut id = *b"req-00000000-0000-0000-0000-000000000000";
        uuid::Uuid::new_v4().hyphenated().encode_lower(&mut id[4..]);
        Self(id)
    }

    fn as_str(&self) -> &str {
        // Digits, letters and dashes.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Arrival {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The span of a request that leaves the short path. A request that is answered from the cache has none: to make
    /// one costs as much as the rest of it.
    fn span(&self, cloud: &str, target: &str) -> Span {
        tracing::info_span!(
            "request",
            request.id = self.request_id.as_str(),
            caller = field::Empty,
            vendordata.cloud = cloud,
            vendordata.target = target,
            instance.id = field::Empty,
            project.id = field::Empty,
        )
    }

    /// An answer with its id, which keystoneauth logs.
    fn named(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        if let Ok(id) = HeaderValue::from_bytes(&self.request_id.0) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// An error as answer, after its line in the log, and counted.
    fn refuse(&self, requests: &Requests, span: &Span, error: &Error) -> Response {
        let _entered = span.enter();
        let (status, fault) = (error.status().as_u16(), error.fault());
        requests.failed(status, fault, self.at.elapsed());
        let (reason, time_ms) = (chain(error), self.elapsed_ms());
        match fault {
            Fault::Caller => {
                tracing::warn!(target: REQUESTS, status, fault = fault.as_str(), time_ms, "refused: {reason}");
            }
            _ => {
                tracing::error!(target: REQUESTS, status, fault = fault.as_str(), time_ms, "failed: {reason}");
            }
        }
        self.named(error)
    }

    /// Nothing as answer, where the operator would rather have instances boot without than not at all. The log and the
    /// numbers tell it like a failure, and nova's log has the request's id.
    fn nothing(&self, target: &Target, span: &Span, error: &Error) -> Response {
        let _entered = span.enter();
        let (status, fault) = (error.status().as_u16(), error.fault());
        let requests = &target.metrics.requests;
        requests.failed(StatusCode::OK.as_u16(), fault, self.at.elapsed());
        tracing::error!(
            target: REQUESTS,
            status = 200,
            fault = fault.as_str(),
            time_ms = self.elapsed_ms(),
            "answered with nothing in place of {status}: {}",
            chain(error)
        );
        let json = HeaderValue::from_static("application/json");
        let failure = HeaderValue::from_static(fault.as_str());
        self.named((
            [(header::CONTENT_TYPE, json), (FAILURE, failure)],
            target.kind.nothing(),
        ))
    }

    /// The answer to a path that leads to no cloud.
    fn no_such_path(&self, gateway: &Gateway) -> Response {
        self.refuse(&gateway.no_cloud, &self.span("", ""), &Error::NoSuchPath)
    }

    /// A body as answer, after its line in the log, and another one where it holds a secret. In one write: nova's read
    /// timeout holds for each read of its socket, and an answer in drips would never run into it.
    fn answer(&self, asked: &Asked<'_>, kept: &Kept, cache: CacheState) -> Response {
        let about = &kept.about;
        asked.metrics.looked_up(cache);
        asked.metrics.requests.answered(self.at.elapsed());
        tracing::info!(
            target: REQUESTS,
            { request.id = self.request_id.as_str(),
            caller = %asked.caller,
            vendordata.cloud = asked.cloud,
            vendordata.target = asked.target,
            instance.id = about.instance_id,
            project.id = about.project_id,
            status = 200,
            cache = cache.as_str(),
            time_ms = self.elapsed_ms() },
            "answered"
        );
        if about.secret {
            asked.metrics.secret_issued();
            tracing::info!(
                target: AUDIT,
                { request.id = self.request_id.as_str(),
                caller = %asked.caller,
                vendordata.cloud = asked.cloud,
                vendordata.target = asked.target,
                instance.id = about.instance_id,
                project.id = about.project_id,
                cache = cache.as_str() },
                "handed out a secret"
            );
        }
        let json = HeaderValue::from_static("application/json");
        self.named(([(header::CONTENT_TYPE, json)], kept.body.clone()))
    }
}

/// Answers nova's POST to `/v1/{target}` and `/{target}`.
async fn in_unnamed_cloud(
    arrival: Arrival,
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Response {
    answer(&gateway, &arrival, request, |path| {
        let (_, name) = path.rsplit_once('/')?;
        Some((UNNAMED_CLOUD.into(), decoded(name)?))
    })
    .await
}

/// Answers nova's POST to `/v1/{cloud}/{target}`.
async fn in_cloud(
    arrival: Arrival,
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Response {
    answer(&gateway, &arrival, request, |path| {
        let (path, name) = path.rsplit_once('/')?;
        let (_, cloud) = path.rsplit_once('/')?;
        Some((decoded(cloud)?, decoded(name)?))
    })
    .await
}

/// Answers at novajoin's own address.
async fn novajoin(
    arrival: Arrival,
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Response {
    answer(&gateway, &arrival, request, |_path| {
        Some((UNNAMED_CLOUD.into(), NOVAJOIN_TARGET.into()))
    })
    .await
}

/// A name in a path. The router has matched its segments already; axum's own extractor would copy each into a string.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    // None for what is no text, percent-encoded.
    percent_decode_str(segment).decode_utf8().ok()
}

/// Answers one request. What an answer from the cache does not need is in futures of its own, boxed: axum copies a handler's
/// future when it is made, and it is as large as the largest thing that it may wait for.
async fn answer(
    gateway: &Arc<Gateway>,
    arrival: &Arrival,
    request: Request,
    names: impl FnOnce(&str) -> Option<(Cow<'_, str>, Cow<'_, str>)>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some((cloud_name, name)) = names(parts.uri.path()) else {
        return arrival.no_such_path(gateway);
    };
    let Some(cloud) = gateway.clouds.get(&*cloud_name) else {
        return arrival.no_such_path(gateway);
    };
    let target = cloud.targets.get(&*name);
    let target = target.filter(|target| target.exposed);
    let requests = target.map_or(&cloud.no_target, |target| &target.metrics.requests);
    let deadline = arrival.at + target.map_or(DEFAULT_TIMEOUT, |target| target.timeout);
    // Before the body is read, and before anything is said of which targets there are.
    let policy = target.map_or(&cloud.accept, |target| &target.accept);
    let admitted = match cloud.auth.admit_known(&parts, policy) {
        Some(admitted) => admitted.map_err(Error::from),
        None => Box::pin(admit(cloud, policy, &parts, deadline)).await,
    };
    let caller = match admitted {
        Ok(caller) => caller,
        Err(error) => {
            return arrival.refuse(requests, &arrival.span(&cloud_name, &name), &error);
        }
    };
    let refuse = |error| {
        let span = arrival.span(&cloud_name, &name);
        span.record("caller", field::display(&caller));
        arrival.refuse(requests, &span, &error)
    };
    let Some(target) = target else {
        return refuse(Error::UnknownTarget(name.to_string()));
    };
    let body = match whole(gateway, body, deadline).await {
        Ok(body) => body,
        Err(error) => return refuse(error),
    };
    let asked = Asked {
        caller: &caller,
        cloud: &cloud_name,
        target: &name,
        metrics: &target.metrics,
    };
    if let Some(kept) = gateway.kept(target, &body) {
        return arrival.answer(&asked, &kept, CacheState::Hit);
    }
    Box::pin(new_answer(
        gateway, arrival, &asked, target, &parts, body, deadline,
    ))
    .await
}

/// Answers what no kept answer is known to answer.
async fn new_answer(
    gateway: &Arc<Gateway>,
    arrival: &Arrival,
    asked: &Asked<'_>,
    target: &Target,
    parts: &Parts,
    body: Bytes,
    deadline: Instant,
) -> Response {
    let span = arrival.span(asked.cloud, asked.target);
    span.record("caller", field::display(asked.caller));
    let post = Post {
        body,
        request_id: arrival.request_id.as_str().into(),
        traceparent: trace_context::adopt(&span, &parts.headers),
        deadline,
    };
    let answer = gateway.answer(target, post);
    let outcome = answer.instrument(span.clone()).await;
    // A run computes without a pause. Whoever else is ready goes first, and answers of one burst leave together: a peer that
    // sleeps is woken once for them all, which on one machine costs more than a run (docs/performance.md).
    tokio::task::yield_now().await;
    match outcome {
        Ok((kept, state)) => arrival.answer(asked, &kept, state),
        Err(error) if target.on_failure == OnFailure::Empty && error.fault() != Fault::Caller => {
            arrival.nothing(target, &span, &error)
        }
        Err(error) => arrival.refuse(&asked.metrics.requests, &span, &error),
    }
}

/// Lets the caller in who is not known yet, or not.
async fn admit(
    cloud: &Cloud,
    policy: &Policy,
    parts: &Parts,
    deadline: Instant,
) -> Result<Caller, Error> {
    match tokio::time::timeout_at(deadline, cloud.auth.admit(parts, policy)).await {
        Ok(admitted) => Ok(admitted?),
        Err(_elapsed) => Err(Error::Deadline),
    }
}

/// What a future gives when it is first polled. A body that came with its head needs no timer, and to make one costs a look at the
/// clock and more.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn whole(gateway: &Gateway, body: Body, deadline: Instant) -> Result<Bytes, Error> {
    let limit = gateway.body_limit_bytes;
    let mut reading = pin!(to_bytes(body, limit));
    let read = match at_once(reading.as_mut()).await {
        Some(read) => read,
        None => {
            let deadline = deadline.min(Instant::now() + gateway.body_timeout);
            let read = tokio::time::timeout_at(deadline, reading).await;
            read.map_err(|_elapsed| Error::Body)?
        }
    };
    read.map_err(|error| {
        let too_long = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if too_long {
            Error::TooLong(limit)
        } else {
            Error::Body
        }
    })
}

/// Whether to send requests here. One plugin that could not be loaded takes neither the gateway nor the other targets out of
/// service: `degraded` is for whoever watches. The reasons are in the log; they name files, and this path is open to all.
async fn readiness(arrival: Arrival, State(gateway): State<Arc<Gateway>>) -> Response {
    if gateway.stopping.load(Ordering::Relaxed) {
        let stopping = Json(json!({"status": "stopping"}));
        return arrival.named((StatusCode::SERVICE_UNAVAILABLE, stopping));
    }
    // A paused plugin needs requests to come back, so that a gateway whose plugins are all paused is still one to ask.
    let state = |cloud: &Cloud, target: &Target| match cloud.readiness(target) {
        Readiness::Serving => "serving",
        Readiness::Tripped => "tripped",
        Readiness::Failed => "failed",
    };
    let mut targets = serde_json::Map::new();
    let mut clouds = serde_json::Map::new();
    for (cloud_name, cloud) in &gateway.clouds {
        let states = cloud.targets.iter();
        let states = states.map(|(name, target)| (name.to_string(), state(cloud, target).into()));
        if cloud_name.as_str() == UNNAMED_CLOUD {
            targets.extend(states);
        } else {
            clouds.insert(
                cloud_name.to_string(),
                serde_json::Value::Object(states.collect()),
            );
        }
    }
    let all = gateway.targets().count();
    let count = |wanted: &[&str]| {
        let states = gateway.clouds.values().flat_map(|cloud| {
            let targets = cloud.targets.values();
            targets.map(|target| state(cloud, target))
        });
        states.filter(|state| wanted.contains(state)).count()
    };
    let (code, status) = match count(&["serving", "tripped"]) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        _ if count(&["serving"]) == all => (StatusCode::OK, "ready"),
        _ => (StatusCode::OK, "degraded"),
    };
    let mut body = json!({"status": status, "targets": targets});
    if !clouds.is_empty() {
        body["clouds"] = clouds.into();
    }
    arrival.named((code, Json(body)))
}
