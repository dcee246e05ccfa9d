//! Why a look-up has no answer: whole for the log, and in fixed words for the plugin.

use reqwest::StatusCode;

use super::catalogue;
use crate::auth;
use crate::config::Service;
use crate::telemetry::metrics::LookUpOutcome;

/// Why the services did not say.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no token to ask with.
    #[error("the gateway's own account has no token")]
    Account(#[source] auth::Error),
    /// Keystone does not tell where the services are.
    #[error("keystone does not hand out its catalogue")]
    NoCatalogue(#[source] auth::Error),
    /// What keystone sent is no catalogue.
    #[error("keystone's catalogue cannot be read")]
    Catalogue(#[source] serde_json::Error),
    /// The catalogue does not have the service.
    #[error("keystone's catalogue is of no use")]
    Endpoint(#[source] catalogue::Error),
    /// No whole answer.
    #[error("no answer from {origin}")]
    NoAnswer {
        /// Who was asked.
        origin: String,
        /// What the client says.
        source: reqwest::Error,
    },
    /// An answer that is none to the question.
    #[error("{origin} answered {status}")]
    Status {
        /// Who was asked.
        origin: String,
        /// What it answered.
        status: StatusCode,
    },
    /// Two tokens in a row are worth nothing there.
    #[error("{origin} does not accept the gateway's token, nor a new one")]
    Refused {
        /// Who was asked.
        origin: String,
    },
    /// The account may not see it.
    #[error(
        "{origin} forbids it: the gateway's account needs the role admin, or what the service's policy has in its place"
    )]
    Forbidden {
        /// Who was asked.
        origin: String,
    },
    /// An answer without end.
    #[error("the answer of {origin} is longer than {most} bytes")]
    TooLong {
        /// Who was asked.
        origin: String,
        /// The limit.
        most: usize,
    },
    /// The answer cannot be read.
    #[error("the answer of {origin} is no JSON")]
    Body {
        /// Who was asked.
        origin: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The answer is of another kind.
    #[error("the answer of {origin} does not hold what was asked for")]
    Nonsense {
        /// Who was asked.
        origin: String,
    },
    /// The time was up.
    #[error("no answer in time")]
    Timeout,
    /// It failed a moment ago, and is left alone for another.
    #[error("no answer a moment ago")]
    Resting,
    /// More look-ups wait than there is time for.
    #[error("too many look-ups are under way")]
    Busy,
}

impl Failure {
    /// Whether the next question to this service would likely fare no better.
    pub(super) fn is_of_the_service(&self) -> bool {
        match self {
            Self::Account(_)
            | Self::NoCatalogue(_)
            | Self::Catalogue(_)
            | Self::Endpoint(_)
            | Self::NoAnswer { .. }
            | Self::Refused { .. }
            | Self::Timeout => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Forbidden { .. }
            | Self::TooLong { .. }
            | Self::Body { .. }
            | Self::Nonsense { .. }
            | Self::Resting
            | Self::Busy => false,
        }
    }

    /// Whether what was found before may stand in. Not where somebody has decided otherwise meanwhile.
    pub(super) fn may_be_bridged(&self) -> bool {
        !matches!(self, Self::Forbidden { .. })
    }

    /// Whether the service may have moved.
    pub(super) fn doubts_the_catalogue(&self) -> bool {
        matches!(
            self,
            Self::Endpoint(_) | Self::NoAnswer { .. } | Self::Timeout
        )
    }

    /// The word for it in the metrics.
    pub(super) fn outcome(&self) -> LookUpOutcome {
        match self {
            Self::Forbidden { .. } => LookUpOutcome::Forbidden,
            _ => LookUpOutcome::Unavailable,
        }
    }

    /// What a plugin is told, and may tell nova: no URL, and nothing that a service wrote.
    pub(super) fn told(&self, service: Service) -> String {
        let name = match service {
            Service::Identity => "keystone",
            Service::Image => "glance",
            Service::Compute => "nova",
            Service::Network => "neutron",
        };
        match self {
            Self::Account(_) => "keystone gives the gateway's account no token".to_owned(),
            Self::NoCatalogue(_) | Self::Catalogue(_) => {
                "keystone does not tell where the services are".to_owned()
            }
            Self::Endpoint(_) => format!("the catalogue does not tell where {name} is"),
            Self::NoAnswer { .. } | Self::Resting => format!("{name} gives no answer"),
            Self::Status { .. } => format!("{name} answers with an error"),
            Self::Refused { .. } => format!("{name} does not accept the gateway's token"),
            Self::Forbidden { .. } => {
                format!("{name} forbids it: the gateway's account lacks the role admin")
            }
            Self::TooLong { .. } | Self::Body { .. } | Self::Nonsense { .. } => {
                format!("{name}'s answer cannot be used")
            }
            Self::Timeout => format!("{name} did not answer in time"),
            Self::Busy => "too many look-ups are under way".to_owned(),
        }
    }
}
