//! What is counted for each cloud: how its callers' tokens fare.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{Histogram, OfCloud, Validation};

/// The series of one cloud, found once.
pub struct CloudMetrics {
    validations: [Counter; Validation::ALL.len()],
    duration: Histogram,
}

/// The series of all clouds.
#[derive(Default)]
pub(super) struct Series {
    validations: Family<OfValidation, Counter>,
    duration: Family<OfCloud, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfValidation {
    cloud: String,
    outcome: &'static str,
}

impl CloudMetrics {
    /// A token was looked at.
    pub fn validated(&self, outcome: Validation) {
        self.validations[outcome as usize].inc();
    }

    /// Keystone was asked, and took this long, whatever it said.
    pub fn asked(&self, took: Duration) {
        self.duration.observe(took);
    }
}

impl Series {
    pub(super) fn of(&self, cloud: &str) -> CloudMetrics {
        let validation = |outcome: Validation| {
            self.validations.get_or_create_owned(&OfValidation {
                cloud: cloud.to_owned(),
                outcome: outcome.as_str(),
            })
        };
        let of = OfCloud {
            cloud: cloud.to_owned(),
        };
        CloudMetrics {
            validations: Validation::ALL.map(validation),
            duration: self.duration.get_or_create_owned(&of),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "token_validations",
            "What became of callers' tokens; grace means that keystone was silent and an earlier answer still counted",
            self.validations.clone(),
        );
        registry.register_with_unit(
            "token_validation_duration",
            "How long keystone took to say whether a token is good",
            Unit::Seconds,
            self.duration.clone(),
        );
    }
}
