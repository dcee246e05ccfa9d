//! The listener, the routes, and what is the same for every request: its id, its log line, its end.

use std::convert::Infallible;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use crate::dispatch::{Gateway, Target};
use crate::error::{Error, Fault, chain};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The target that novajoin's users reach at `/v1/`.
const NOVAJOIN_TARGET: &str = "join";

/// For what happens before the target, and with it its own timeout, is known.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);

/// A request's name and moment. Every handler takes one, and answers through it, so that every answer carries the id.
struct Arrival {
    request_id: String,
    at: Instant,
}

/// Serves until `shutdown` is ready, then lets running requests end, for at most `patience`.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
    patience: Duration,
) -> std::io::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        tracing::info!("stopping: no new connections, running requests may end");
        // The other end waits for this, or is gone.
        let _ = stopping.send(());
    };
    // An answer is one write, and should not wait for more.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, router(gateway)).with_graceful_shutdown(shutdown);
    let out_of_patience = async {
        // Without a shutdown the sender stays, and so does this.
        if stopped.await.is_ok() {
            tokio::time::sleep(patience).await;
        }
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = out_of_patience => {
            tracing::warn!("requests were still running when the time to stop was over");
            Ok(())
        }
    }
}

/// All routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1", post(novajoin))
        .route("/v1/", post(novajoin))
        .route("/v1/{target}", post(vendordata))
        .route("/{target}", post(vendordata))
        .route(
            "/healthz",
            get(async |arrival: Arrival| arrival.named("ok\n")),
        )
        .route("/readyz", get(readiness))
        .method_not_allowed_fallback(async |arrival: Arrival, uri: Uri| {
            let only = if matches!(uri.path(), "/healthz" | "/readyz") {
                "GET"
            } else {
                "POST"
            };
            arrival.refuse(&arrival.span(""), Error::Method(only))
        })
        .fallback(async |arrival: Arrival| arrival.refuse(&arrival.span(""), Error::NoSuchPath))
        .with_state(gateway)
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            request_id: format!("req-{}", uuid::Uuid::new_v4()),
            at: Instant::now(),
        })
    }
}

impl Arrival {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The span of a request that leaves the short path. A request that is answered from the cache has none: to make
    /// one costs as much as the rest of it.
    fn span(&self, target: &str) -> Span {
        tracing::info_span!(
            "request",
            request.id = self.request_id,
            vendordata.target = target,
            instance.id = field::Empty,
            project.id = field::Empty,
        )
    }

    /// An answer with its id, which keystoneauth logs.
    fn named(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        // An id is hexadecimal digits and dashes.
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// An error as answer, after a line in the log.
    fn refuse(&self, span: &Span, error: Error) -> Response {
        let _entered = span.enter();
        let (status, fault) = (error.status().as_u16(), error.fault());
        let (reason, time_ms) = (chain(&error), self.elapsed_ms());
        match fault {
            Fault::Caller => {
                tracing::warn!(status, fault = fault.as_str(), time_ms, "refused: {reason}");
            }
            _ => tracing::error!(status, fault = fault.as_str(), time_ms, "failed: {reason}"),
        }
        self.named(error)
    }

    /// A body as answer, in one write: nova's read timeout holds for each read of its socket, and an answer in drips would
    /// never run into it.
    fn answer(&self, body: Bytes) -> Response {
        let json = HeaderValue::from_static("application/json");
        self.named(([(header::CONTENT_TYPE, json)], body))
    }
}

/// Answers nova's POST to `/v1/{target}`.
async fn vendordata(
    arrival: Arrival,
    State(gateway): State<Arc<Gateway>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match name {
        Ok(Path(name)) => answer(&gateway, &arrival, &name, request).await,
        // A name that is no text, percent-encoded.
        Err(_rejected) => arrival.refuse(&arrival.span(""), Error::NoSuchPath),
    }
}

/// Answers at novajoin's own address.
async fn novajoin(
    arrival: Arrival,
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Response {
    answer(&gateway, &arrival, NOVAJOIN_TARGET, request).await
}

async fn answer(
    gateway: &Arc<Gateway>,
    arrival: &Arrival,
    name: &str,
    request: Request,
) -> Response {
    let target = gateway.target(name);
    let deadline = arrival.at + target.map_or(DEFAULT_TIMEOUT, |target| target.timeout);
    let (target, body) = match admit(gateway, target, name, request, deadline).await {
        Ok(admitted) => admitted,
        Err(error) => return arrival.refuse(&arrival.span(name), error),
    };
    if let Some(body) = gateway.kept(target, &body).await {
        tracing::debug!(
            request.id = arrival.request_id,
            vendordata.target = name,
            cache = "hit",
            "answered"
        );
        return arrival.answer(body);
    }
    let span = arrival.span(name);
    let answer = gateway.answer(target, &body, &arrival.request_id, deadline);
    let outcome = answer.instrument(span.clone()).await;
    // A run computes without a pause. Whoever else is ready goes first, and answers of one burst leave together: a peer that
    // sleeps is woken once for them all, which on one machine costs more than a run (docs/performance.md).
    tokio::task::yield_now().await;
    match outcome {
        Ok(body) => {
            let time_ms = arrival.elapsed_ms();
            span.in_scope(|| tracing::info!(time_ms, cache = "miss", "answered"));
            arrival.answer(body)
        }
        Err(error) => arrival.refuse(&span, error),
    }
}

/// Lets the caller in and reads his body.
async fn admit<'a>(
    gateway: &Gateway,
    target: Option<&'a Arc<Target>>,
    name: &str,
    request: Request,
    deadline: Instant,
) -> Result<(&'a Arc<Target>, Bytes), Error> {
    let (parts, body) = request.into_parts();
    // Before the body is read, and before anything is said of which targets there are.
    let admitted = gateway.auth.admit(&parts.headers);
    match tokio::time::timeout_at(deadline, admitted).await {
        Ok(admitted) => admitted?,
        Err(_elapsed) => return Err(Error::Deadline),
    };
    let Some(target) = target else {
        return Err(Error::UnknownTarget(name.to_owned()));
    };
    let body = tokio::time::timeout_at(deadline, whole(body, gateway.body_limit_bytes));
    let body = body.await.map_err(|_elapsed| Error::Body)??;
    Ok((target, body))
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Error> {
    to_bytes(body, limit).await.map_err(|error| {
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
    let targets: serde_json::Map<String, serde_json::Value> = gateway
        .targets
        .iter()
        .map(|(name, target)| {
            let state = if target.plugin.is_ok() {
                "serving"
            } else {
                "failed"
            };
            (name.to_string(), state.into())
        })
        .collect();
    let serving = gateway
        .targets
        .values()
        .filter(|target| target.plugin.is_ok())
        .count();
    let (code, status) = match serving {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        all if all == targets.len() => (StatusCode::OK, "ready"),
        _ => (StatusCode::OK, "degraded"),
    };
    arrival.named((code, Json(json!({"status": status, "targets": targets}))))
}
