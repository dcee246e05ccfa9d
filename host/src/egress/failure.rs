//! Why a plugin's request has no answer, told apart as far as plugins and operators act on it differently.

use std::net::IpAddr;

use super::resolver::Forbidden;
use crate::telemetry::metrics::EgressOutcome;

/// Why a plugin's request has no answer. The texts are for the plugin: they name what it asked for itself.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request is wrong as it stands.
    #[error("{0}")]
    Invalid(String),
    /// No grant covers it.
    #[error("{what} is not granted to this target")]
    Denied {
        /// The origin, or the credential at the origin.
        what: String,
    },
    /// A rule covers it, and permits none of the addresses that its host leads to.
    #[error("{origin} leads to no address that is granted to this target")]
    Address {
        /// Where to.
        origin: String,
        /// Those that it leads to.
        addresses: Vec<IpAddr>,
    },
    /// The call has used up its requests.
    #[error("this call has used up its requests")]
    TooMany,
    /// The request's body is longer than the rule or the call allows.
    #[error("{of} may have {limit} bytes")]
    BodyTooLarge {
        /// How many there may be.
        limit: usize,
        /// Of this.
        of: &'static str,
    },
    /// The credential does not fit the request.
    #[error("{0}")]
    Credential(&'static str),
    /// The name does not resolve.
    #[error("the name of {origin} does not resolve")]
    Dns {
        /// Where to.
        origin: String,
        /// What the client says.
        source: reqwest::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {origin}")]
    Connect {
        /// Where to.
        origin: String,
        /// What the client says.
        source: reqwest::Error,
    },
    /// The peer is not who it should be.
    #[error("TLS with {origin} failed: {reason}")]
    Tls {
        /// Where to.
        origin: String,
        /// What rustls says.
        reason: String,
    },
    /// No whole answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than this many bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection to {origin} broke")]
    Protocol {
        /// Where to.
        origin: String,
        /// What the client says.
        source: reqwest::Error,
    },
}

impl RequestError {
    /// The word for it in the metrics.
    pub(super) fn outcome(&self) -> EgressOutcome {
        match self {
            Self::Invalid(_) | Self::BodyTooLarge { .. } => EgressOutcome::Invalid,
            Self::Denied { .. } | Self::Address { .. } => EgressOutcome::Denied,
            Self::TooMany => EgressOutcome::TooMany,
            Self::Credential(_) => EgressOutcome::Credential,
            Self::Dns { .. } => EgressOutcome::Dns,
            Self::Connect { .. } => EgressOutcome::Connect,
            Self::Tls { .. } => EgressOutcome::Tls,
            Self::Timeout => EgressOutcome::Timeout,
            Self::TooLarge(_) => EgressOutcome::TooLarge,
            Self::Protocol { .. } => EgressOutcome::Protocol,
        }
    }
}

/// Finds out what went wrong. reqwest has no kinds for DNS and TLS: they are found in the chain of causes.
pub(super) fn failed(error: reqwest::Error, origin: &str) -> RequestError {
    let origin = origin.to_owned();
    // The URL may hold what the plugin would not like in a log.
    let error = error.without_url();
    // Who could not connect in time has sent nothing.
    if error.is_timeout() && !error.is_connect() {
        return RequestError::Timeout;
    }
    let mut is_dns = false;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(at) = cause {
        if let Some(tls) = at.downcast_ref::<rustls::Error>() {
            let reason = tls.to_string();
            return RequestError::Tls { origin, reason };
        }
        if let Some(forbidden) = at.downcast_ref::<Forbidden>() {
            let addresses = forbidden.0.clone();
            return RequestError::Address { origin, addresses };
        }
        is_dns |= at.to_string() == "dns error";
        // The source of an `io::Error` is that of the error inside it, which would be skipped.
        let inside = at
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match inside {
            Some(inside) => Some(inside),
            None => at.source(),
        };
    }
    if is_dns {
        RequestError::Dns {
            origin,
            source: error,
        }
    } else if error.is_connect() {
        RequestError::Connect {
            origin,
            source: error,
        }
    } else {
        RequestError::Protocol {
            origin,
            source: error,
        }
    }
}
