//! What is counted of look-ups, for each cloud that has any.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{Histogram, LookUpOutcome};
use crate::config::LookUp;

/// The series of one cloud, found once.
pub struct LookUpMetrics([OfOneKind; LookUp::ALL.len()]);

struct OfOneKind {
    ended: [Counter; LookUpOutcome::ALL.len()],
    duration: Histogram,
}

/// The series of all clouds.
#[derive(Default)]
pub(super) struct Series {
    ended: Family<OfOutcome, Counter>,
    duration: Family<OfKind, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    cloud: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    #[prometheus(flatten)]
    of: OfKind,
    outcome: &'static str,
}

impl LookUpMetrics {
    /// A plugin was told something.
    pub fn ended(&self, kind: LookUp, outcome: LookUpOutcome) {
        self.0[kind as usize].ended[outcome as usize].inc();
    }

    /// A service was asked, and took this long, whatever it said.
    pub fn asked(&self, kind: LookUp, took: Duration) {
        self.0[kind as usize].duration.observe(took);
    }
}

impl Series {
    pub(super) fn of(&self, cloud: &str) -> LookUpMetrics {
        LookUpMetrics(LookUp::ALL.map(|kind| {
            let of = OfKind {
                cloud: cloud.to_owned(),
                kind: kind.as_str(),
            };
            let ended = |outcome: LookUpOutcome| {
                let (of, outcome) = (of.clone(), outcome.as_str());
                self.ended.get_or_create_owned(&OfOutcome { of, outcome })
            };
            OfOneKind {
                ended: LookUpOutcome::ALL.map(ended),
                duration: self.duration.get_or_create_owned(&of),
            }
        }))
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "openstack_lookups",
            "What plugins looked up at the cloud's services by how that ended; stale means that a service was silent and an earlier answer stood in",
            self.ended.clone(),
        );
        registry.register_with_unit(
            "openstack_lookup_duration",
            "How long a service took to answer a look-up, with the gateway's log-in where that was due",
            Unit::Seconds,
            self.duration.clone(),
        );
    }
}
