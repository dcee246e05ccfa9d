//! The listener, the routes, and what is the same for every request: its id, its log line, its end.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use crate::dispatch::{Gateway, Source};
use crate::error::{Error, Fault, chain};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The target that novajoin's users reach at `/v1/`.
const NOVAJOIN_TARGET: &str = "join";

/// For what happens before the target, and with it its own timeout, is known.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);

/// A request's name and moment.
#[derive(Clone)]
struct Arrival {
    request_id: Arc<str>,
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
        .method_not_allowed_fallback(async || Error::Method("POST"))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .fallback(async || Error::NoSuchPath)
        .layer(middleware::from_fn(named))
        .with_state(gateway)
}

/// Gives every request an id, and every answer the header that keystoneauth logs.
async fn named(mut request: Request, next: Next) -> Response {
    let id = format!("req-{}", uuid::Uuid::new_v4());
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(Arrival {
        request_id: id.into(),
        at: Instant::now(),
    });
    let mut response = next.run(request).await;
    // An id is hexadecimal digits and dashes.
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

/// Answers nova's POST to `/v1/{target}`.
async fn vendordata(
    State(gateway): State<Arc<Gateway>>,
    Extension(arrival): Extension<Arrival>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    answer_and_log(gateway, arrival, name, request).await
}

/// Answers at novajoin's own address.
async fn novajoin(
    State(gateway): State<Arc<Gateway>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Response {
    answer_and_log(gateway, arrival, NOVAJOIN_TARGET.to_owned(), request).await
}

async fn answer_and_log(
    gateway: Arc<Gateway>,
    arrival: Arrival,
    name: String,
    request: Request,
) -> Response {
    let span = tracing::info_span!(
        "request",
        request.id = %arrival.request_id,
        vendordata.target = name,
        instance.id = field::Empty,
        project.id = field::Empty,
    );
    let outcome = answer(&gateway, &arrival, name, request, &span)
        .instrument(span.clone())
        .await;
    let time_ms = arrival.at.elapsed().as_millis();
    let _entered = span.enter();
    match outcome {
        Ok((body, Source::Cache)) => {
            tracing::debug!(time_ms, cache = "hit", "answered");
            ok(body)
        }
        Ok((body, Source::Run)) => {
            tracing::info!(time_ms, cache = "miss", "answered");
            ok(body)
        }
        Err(error) => {
            let (status, fault) = (error.status().as_u16(), error.fault());
            let reason = chain(&error);
            match fault {
                Fault::Caller => {
                    tracing::warn!(status, fault = fault.as_str(), time_ms, "refused: {reason}")
                }
                _ => tracing::error!(status, fault = fault.as_str(), time_ms, "failed: {reason}"),
            }
            error.into_response()
        }
    }
}

/// One write: nova's read timeout holds for each read of its socket, and an answer in drips would never run into it.
fn ok(body: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

async fn answer(
    gateway: &Arc<Gateway>,
    arrival: &Arrival,
    name: String,
    request: Request,
    span: &Span,
) -> Result<(Bytes, Source), Error> {
    let target = gateway.target(&name);
    let timeout = target.map_or(DEFAULT_TIMEOUT, |target| target.timeout);
    let deadline = arrival.at + timeout;
    let (parts, body) = request.into_parts();
    // Before the body is read, and before anything is said of which targets there are.
    let admitted = gateway.auth.admit(&parts.headers);
    match tokio::time::timeout_at(deadline, admitted).await {
        Ok(admitted) => admitted?,
        Err(_elapsed) => return Err(Error::Deadline),
    };
    let Some(target) = target else {
        return Err(Error::UnknownTarget(name));
    };
    let body = tokio::time::timeout_at(deadline, whole(body, gateway.body_limit_bytes));
    let body = body.await.map_err(|_elapsed| Error::Body)??;
    gateway
        .answer(target, &body, span, &arrival.request_id, deadline)
        .await
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
async fn readiness(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
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
    (code, Json(json!({"status": status, "targets": targets})))
}
