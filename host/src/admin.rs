//! What those who run the gateway ask it: metrics, readiness, the levels of the log.
//!
//! It has a listener of its own, so that nova's port offers none of this. Where it can be reached from other machines the
//! configuration demands tokens; on loopback and Unix sockets, whoever is let in by the system may ask.
//!
//! A page in a browser on the operator's machine could send requests to loopback too. It cannot read the answers, since
//! nothing here allows other origins to, and it cannot change the filter: a browser asks with OPTIONS before it sends a PUT,
//! and gets a refusal. A page whose own name is made to point at loopback gets round both; tokens keep that one out.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::{Filter, TokenHash};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{self, Metrics};

/// Longer than any filter that a person writes.
const FILTER_BYTES: usize = 4 * 1024;

const PATHS: &str = "\
GET /metrics    for Prometheus; docs/metrics.md explains them
GET /healthz    200 while the process lives; the only path that needs no token
GET /readyz     whether to send requests here, and the state of each target
GET /log        the levels of the log
PUT /log        changes them, until the next start: curl -X PUT -d warn,vendordock::auth=debug .../log
";

/// All routes. `readiness` brings `/readyz`. With `tokens`, each request but `/healthz` must have one of them.
pub fn router<'a>(
    metrics: Arc<Metrics>,
    telemetry: Arc<Telemetry>,
    tokens: impl IntoIterator<Item = &'a TokenHash>,
    readiness: Router,
) -> Router {
    let tokens: Arc<[TokenHash]> = tokens.into_iter().cloned().collect();
    Router::new()
        .route("/", get(async || PATHS))
        .route(
            "/metrics",
            get(async move || {
                (
                    [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
                    metrics.text(),
                )
            }),
        )
        .route("/log", get(filter).put(set_filter))
        .layer(DefaultBodyLimit::max(FILTER_BYTES))
        .with_state(telemetry)
        .merge(readiness)
        .fallback(async || (StatusCode::NOT_FOUND, PATHS))
        .layer(middleware::from_fn_with_state(tokens, authorise))
        .route("/healthz", get(async || "ok\n"))
}

async fn authorise(
    State(tokens): State<Arc<[TokenHash]>>,
    request: Request,
    next: Next,
) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if tokens.is_empty() || authorization.is_some_and(|value| is_known(value, &tokens)) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    let message = "this needs `Authorization: Bearer TOKEN` with one of [admin.tokens]\n";
    (StatusCode::UNAUTHORIZED, challenge, message).into_response()
}

fn is_known(authorization: &HeaderValue, tokens: &[TokenHash]) -> bool {
    let value = authorization.as_bytes();
    let Some((scheme, token)) = value.split_at_checked(b"Bearer ".len()) else {
        return false;
    };
    let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
    // All are compared, to their ends: time must not tell how near a guess is, nor which token it is near to.
    let found = tokens.iter().fold(Choice::from(0), |found, known| {
        found | known.bytes().ct_eq(&hash)
    });
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(found)
}

async fn filter(State(telemetry): State<Arc<Telemetry>>) -> String {
    telemetry.filter() + "\n"
}

async fn set_filter(
    State(telemetry): State<Arc<Telemetry>>,
    body: String,
) -> Result<StatusCode, (StatusCode, String)> {
    let refused = |reason: String| (StatusCode::BAD_REQUEST, reason + "\n");
    let wanted = body.trim();
    if wanted.is_empty() {
        return Err(refused("no filter; to silence the log, write `off`".into()));
    }
    let filter = Filter::try_from(wanted.to_owned()).map_err(refused)?;
    let before = telemetry.filter();
    // Two lines, since either filter may keep one of them from being seen.
    tracing::warn!(before, wanted, "the log's filter is to be changed");
    telemetry
        .set_filter(&filter)
        .map_err(|error| refused(error.to_string()))?;
    let filter = telemetry.filter();
    tracing::warn!(before, filter, "the log's filter was changed");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: &str) -> TokenHash {
        let digits: String = Sha256::digest(token)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        TokenHash::try_from(format!("sha256:{digits}")).expect("a hash")
    }

    #[test]
    fn a_token_is_known_when_its_hash_is_one_of_those_configured() {
        let tokens = [hash("first"), hash("second")];
        for (value, known) in [
            ("Bearer first", true),
            ("bearer second", true),
            ("Bearer  second ", true),
            ("Bearer third", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic first", false),
            ("first", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(is_known(&value, &tokens), known, "{value:?}");
        }
    }
}
