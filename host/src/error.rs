//! Every failure becomes a status, a body and a log line here; the only place that knows all.
//!
//! nova decides by status: any 4xx or 5xx leaves the instance without this vendordata, or fails its boot where
//! `vendordata_dynamic_failure_fatal` is set; a 401 makes it renew its token and ask once more. It writes the `message` of
//! our body to its log. So a 401 says "your token" and nothing else, and a text goes out only where somebody on
//! nova's side can act on it. The whole chain of causes stays in our own log.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::dispatch::Failure;
use crate::plugin::{Limit, Refusal};
use crate::{auth, plugin, request};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller was turned away.
    #[error("the caller was turned away")]
    Auth(#[from] Arc<auth::Error>),
    /// No such target.
    #[error("no target is called {0:?}")]
    UnknownTarget(String),
    /// The target's plugin could not be loaded.
    #[error("the target's plugin is not loaded")]
    NotLoaded,
    /// The body is longer than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// The body broke off, or took too long to arrive.
    #[error("the body did not arrive")]
    Body,
    /// The body is no request of nova's.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The plugin gave no answer.
    #[error("the plugin gave no answer")]
    Plugin(#[from] Arc<plugin::Error>),
    /// There is no composed answer.
    #[error("there is no composed answer")]
    Composed(#[from] Arc<Failure>),
    /// The time for the request was over before there was an answer.
    #[error("the time for the request is over")]
    Deadline,
    /// No such path.
    #[error("no such path")]
    NoSuchPath,
    /// The path has another method.
    #[error("the path has no such method")]
    Method(&'static str),
}

/// Whose fault a failure is: who should look at it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent the request.
    Caller,
    /// The plugin.
    Guest,
    /// The gateway.
    Host,
    /// A service behind the plugin, or keystone.
    Upstream,
    /// The configuration.
    Operator,
}

impl Fault {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Guest => "guest",
            Self::Host => "host",
            Self::Upstream => "upstream",
            Self::Operator => "operator",
        }
    }
}

/// What the outside is told.
struct Told {
    status: StatusCode,
    fault: Fault,
    message: String,
    retry_after: Option<Duration>,
}

impl Error {
    /// The status that nova gets.
    pub fn status(&self) -> StatusCode {
        self.told().status
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.told().fault
    }

    fn told(&self) -> Told {
        let told = |status, fault, message: &str| Told {
            status,
            fault,
            message: message.to_owned(),
            retry_after: None,
        };
        match self {
            Self::Auth(error) => match **error {
                auth::Error::NoToken => told(
                    StatusCode::UNAUTHORIZED,
                    Fault::Caller,
                    "no X-Auth-Token: nova sends one when [vendordata_dynamic_auth] is configured",
                ),
                auth::Error::Rejected | auth::Error::Signature(_) => told(
                    StatusCode::UNAUTHORIZED,
                    Fault::Caller,
                    "the token is invalid or expired",
                ),
                auth::Error::WrongCaller { .. } => told(
                    StatusCode::FORBIDDEN,
                    Fault::Caller,
                    "the token is good, but this target does not accept its user, roles and project",
                ),
                auth::Error::NoCertificate => told(
                    StatusCode::FORBIDDEN,
                    Fault::Caller,
                    "no client certificate: nova shows the one of [vendordata_dynamic_auth] certfile and keyfile",
                ),
                auth::Error::WrongCertificate(_) => told(
                    StatusCode::FORBIDDEN,
                    Fault::Caller,
                    "the certificate is good, but its owner is not accepted here",
                ),
                auth::Error::Busy => Told {
                    retry_after: Some(Duration::from_secs(1)),
                    ..told(
                        StatusCode::SERVICE_UNAVAILABLE,
                        Fault::Caller,
                        "the token cannot be checked: too many wait for keystone",
                    )
                },
                auth::Error::Account(_) => told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Fault::Operator,
                    "the token cannot be checked: keystone refuses the gateway's own account",
                ),
                auth::Error::Unreachable(_) | auth::Error::Resting | auth::Error::Nonsense(_) => {
                    Told {
                        retry_after: Some(Duration::from_secs(1)),
                        ..told(
                            StatusCode::SERVICE_UNAVAILABLE,
                            Fault::Upstream,
                            "the token cannot be checked: keystone gives no answer",
                        )
                    }
                }
            },
            Self::UnknownTarget(_) => told(
                StatusCode::NOT_FOUND,
                Fault::Caller,
                "no such target: compare the name in the URL with the [targets.NAME] tables",
            ),
            Self::NoSuchPath => told(
                StatusCode::NOT_FOUND,
                Fault::Caller,
                "no such path: POST to /v1/TARGET, or to /v1/CLOUD/TARGET",
            ),
            Self::Method(_) => told(
                StatusCode::METHOD_NOT_ALLOWED,
                Fault::Caller,
                "the path has no such method",
            ),
            Self::NotLoaded => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Fault::Operator,
                "this target's plugin could not be loaded: the gateway's log says why",
            ),
            Self::TooLong(_) => told(
                StatusCode::PAYLOAD_TOO_LARGE,
                Fault::Caller,
                "the body is longer than this gateway accepts (body_limit_bytes)",
            ),
            Self::Body => told(
                StatusCode::REQUEST_TIMEOUT,
                Fault::Caller,
                "the body did not arrive whole",
            ),
            // serde_json's text names the member and its place, never more of the body than a wrong word.
            Self::Request(error) => {
                told(StatusCode::BAD_REQUEST, Fault::Caller, &error.to_string())
            }
            Self::Deadline => told(
                StatusCode::GATEWAY_TIMEOUT,
                Fault::Upstream,
                "no answer in the time that this target has (timeout_ms)",
            ),
            Self::Composed(failure) => match &**failure {
                Failure::Member { target, source } => {
                    let told = source.told();
                    Told {
                        message: format!("target {target}: {}", told.message),
                        ..told
                    }
                }
                Failure::Part { .. } => told(
                    StatusCode::BAD_GATEWAY,
                    Fault::Guest,
                    "what a plugin has for cloud-init would break a guest and is not handed on",
                ),
                Failure::TooLong { .. } => told(
                    StatusCode::BAD_GATEWAY,
                    Fault::Operator,
                    "the composed answer is longer than this target allows (response_bytes)",
                ),
                Failure::Lost { .. } => told(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Fault::Host,
                    "the gateway failed",
                ),
            },
            Self::Plugin(error) => match &**error {
                plugin::Error::Answered(refusal) => refused(refusal),
                plugin::Error::Deadline => told(
                    StatusCode::GATEWAY_TIMEOUT,
                    Fault::Guest,
                    "the plugin exceeded the time that this target has (timeout_ms)",
                ),
                plugin::Error::Busy | plugin::Error::Overloaded => Told {
                    retry_after: Some(Duration::from_secs(1)),
                    ..told(
                        StatusCode::SERVICE_UNAVAILABLE,
                        Fault::Host,
                        "too many calls of this target are running",
                    )
                },
                plugin::Error::Paused(paused) => Told {
                    // The pause is over, and another call is on trial.
                    retry_after: Some(paused.wait.max(Duration::from_secs(1))),
                    ..told(
                        StatusCode::SERVICE_UNAVAILABLE,
                        Fault::Guest,
                        "the plugin failed again and again, and is not called for a while",
                    )
                },
                plugin::Error::Limit { reached, .. } => exceeded(reached.limit),
                plugin::Error::Trap(_) => told(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Fault::Guest,
                    "the plugin failed",
                ),
                plugin::Error::Answer(_) => told(
                    StatusCode::BAD_GATEWAY,
                    Fault::Guest,
                    "the plugin's answer would break a guest and is not handed on",
                ),
            },
        }
    }
}

/// Names the key: whoever reads nova's log may have to ask for another value of it.
fn exceeded(limit: Limit) -> Told {
    let status = match limit {
        Limit::CpuTime => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match limit.key() {
        Some(key) => format!("the plugin exceeded a limit that this target has ({key})"),
        None => "the plugin failed".to_owned(),
    };
    Told {
        status,
        fault: Fault::Guest,
        message,
        retry_after: None,
    }
}

/// A status below 500 takes the plugin's text along, as `wit/` promises; the rest gets a fixed one.
fn refused(refusal: &Refusal) -> Told {
    let told = |status, fault, message: &str| Told {
        status,
        fault,
        message: message.to_owned(),
        retry_after: None,
    };
    match refusal {
        Refusal::InvalidRequest(faults) => {
            told(StatusCode::BAD_REQUEST, Fault::Caller, &faults.join("; "))
        }
        Refusal::Forbidden(text) => told(StatusCode::FORBIDDEN, Fault::Caller, text),
        Refusal::NotFound(text) => told(StatusCode::NOT_FOUND, Fault::Caller, text),
        Refusal::Conflict(text) => told(StatusCode::CONFLICT, Fault::Caller, text),
        Refusal::Throttled(wait_ms) => Told {
            retry_after: Some(Duration::from_millis((*wait_ms).into())),
            ..told(
                StatusCode::TOO_MANY_REQUESTS,
                Fault::Upstream,
                "the plugin asks to wait",
            )
        },
        Refusal::Misconfigured(_) => told(
            StatusCode::INTERNAL_SERVER_ERROR,
            Fault::Operator,
            "the target's configuration is at fault: the gateway's log says where",
        ),
        Refusal::Internal(_) => told(
            StatusCode::INTERNAL_SERVER_ERROR,
            Fault::Guest,
            "the plugin failed",
        ),
        Refusal::Upstream(_) => told(
            StatusCode::BAD_GATEWAY,
            Fault::Upstream,
            "a service behind the plugin failed",
        ),
        Refusal::Unavailable(wait_ms) => Told {
            retry_after: wait_ms.map(|wait_ms| Duration::from_millis(wait_ms.into())),
            ..told(
                StatusCode::SERVICE_UNAVAILABLE,
                Fault::Upstream,
                "a service behind the plugin is not available",
            )
        },
        Refusal::UpstreamTimeout(_) => told(
            StatusCode::GATEWAY_TIMEOUT,
            Fault::Upstream,
            "a service behind the plugin was too slow",
        ),
    }
}

impl IntoResponse for &Error {
    fn into_response(self) -> Response {
        let told = self.told();
        let title = told.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "error": {"code": told.status.as_u16(), "title": title, "message": told.message}
        });
        let mut response = (told.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if told.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Keystone"));
        }
        if let Error::Method(allowed) = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(wait) = told.retry_after {
            // Whole seconds, rounded up: a caller that comes too early is turned away again.
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(wait.as_millis().div_ceil(1_000) as u64),
            );
        }
        response
    }
}

/// An error with all its causes, in one line: wasmtime's backtraces have many.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

/// What is wrong with somebody's JSON. serde repeats a value that has the wrong type, and values are the tenant's or the
/// plugin's; what a value had to be is ours to tell.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let Some((before, rest)) = text.split_once("invalid type: ") else {
        return text;
    };
    let Some((found, expected)) = rest.rsplit_once(", expected ") else {
        return text;
    };
    let kind = found.split(['"', '`']).next().unwrap_or_default();
    format!(
        "{before}invalid type: {}, expected {expected}",
        kind.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_wrong_type_is_not_repeated() {
        for json in [r#""hunter2, expected x""#, "4711", "[\"hunter2\"]"] {
            let error = serde_json::from_str::<std::collections::BTreeMap<(), ()>>(json);
            let told = json_fault(&error.expect_err("no map"));
            assert!(told.starts_with("invalid type: "), "{told}");
            assert!(
                !told.contains("hunter2") && !told.contains("4711"),
                "{told}"
            );
        }
    }
}
