//! What is counted for each target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{
    CacheState, EgressOutcome, Histogram, Metrics, OfTarget, Ongoing, RunOutcome, StateOutcome,
    seconds,
};
use crate::error::Fault;

/// The series of one target, found once.
pub struct TargetMetrics {
    /// How its requests ended.
    pub requests: Requests,
    lookups: [Counter; CacheState::ALL.len()],
    running: Gauge,
    waiting: Gauge,
    refused: Counter,
    plugin_duration: Histogram,
    plugin_cpu: Counter<f64, AtomicU64>,
    plugin_memory_peak: Gauge<u64, AtomicU64>,
    runs: [Counter; RunOutcome::ALL.len()],
    traps: Counter,
    timeouts: Counter,
    tripped: Gauge,
    egress: [Counter; EgressOutcome::ALL.len()],
    egress_duration: Histogram,
    state: [Counter; StateOutcome::ALL.len()],
    secrets: Counter,
    /// By member: a look-up there costs less than the line in the log.
    left_out: Family<OfMember, Counter>,
}

/// How requests end.
#[derive(Clone)]
pub struct Requests {
    of: OfTarget,
    answered: Counter,
    duration: Histogram,
    /// For what goes wrong: a look-up there costs less than the line in the log.
    all: Family<OfRequest, Counter>,
}

/// What one call took.
pub struct PluginRun {
    /// From the start to the end, waiting for upstreams included.
    pub wall: Duration,
    /// Computing, the host's part on its behalf included.
    pub cpu: Duration,
    /// The memory that it had at its end. Memory does not shrink.
    pub memory_bytes: u64,
}

/// The series of all targets.
#[derive(Default)]
pub(super) struct Series {
    requests: Family<OfRequest, Counter>,
    request_duration: Family<OfTarget, Histogram>,
    lookups: Family<OfLookup, Counter>,
    running: Family<OfTarget, Gauge>,
    waiting: Family<OfTarget, Gauge>,
    refused: Family<OfTarget, Counter>,
    plugin_duration: Family<OfTarget, Histogram>,
    plugin_cpu: Family<OfTarget, Counter<f64, AtomicU64>>,
    plugin_memory_peak: Family<OfTarget, Gauge<u64, AtomicU64>>,
    runs: Family<OfRun, Counter>,
    traps: Family<OfTarget, Counter>,
    timeouts: Family<OfTarget, Counter>,
    tripped: Family<OfTarget, Gauge>,
    egress: Family<OfEgress, Counter>,
    egress_duration: Family<OfTarget, Histogram>,
    state: Family<OfState, Counter>,
    secrets: Family<OfTarget, Counter>,
    left_out: Family<OfMember, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    #[prometheus(flatten)]
    of: OfTarget,
    code: u16,
    /// Empty for a request that was answered.
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLookup {
    #[prometheus(flatten)]
    of: OfTarget,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    #[prometheus(flatten)]
    of: OfTarget,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    #[prometheus(flatten)]
    of: OfTarget,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEgress {
    #[prometheus(flatten)]
    of: OfTarget,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMember {
    #[prometheus(flatten)]
    of: OfTarget,
    member: String,
}

impl TargetMetrics {
    /// For a plugin that nobody scrapes: of `vendordock check`, a bench, a test.
    pub fn unregistered() -> Arc<Self> {
        Metrics::default().target("", "")
    }

    /// Where an answer came from.
    pub fn looked_up(&self, state: CacheState) {
        self.lookups[state as usize].inc();
    }

    /// A call waits for a place, until what is returned is dropped.
    pub fn waiting(&self) -> Ongoing {
        Ongoing::new(&self.waiting)
    }

    /// A call runs, until what is returned is dropped.
    pub fn running(&self) -> Ongoing {
        Ongoing::new(&self.running)
    }

    /// A request was turned away because too many were there before it.
    pub fn refused_for_load(&self) {
        self.refused.inc();
    }

    /// A call has ended, however it did.
    pub fn ran(&self, run: PluginRun) {
        self.plugin_duration.observe(run.wall);
        self.plugin_cpu.inc_by(run.cpu.as_secs_f64());
        let peak = self.plugin_memory_peak.inner();
        peak.fetch_max(run.memory_bytes, Ordering::Relaxed);
    }

    /// A call ended in this way.
    pub fn ended(&self, outcome: RunOutcome) {
        self.runs[outcome as usize].inc();
        if outcome.is_crash() {
            self.traps.inc();
        }
        if outcome == RunOutcome::Timeout {
            self.timeouts.inc();
        }
    }

    /// The plugin is called no more, or again.
    pub fn breaker_tripped(&self, tripped: bool) {
        self.tripped.set(tripped.into());
    }

    /// A request of the plugin has ended. Its time counts only when it was sent.
    pub fn egress(&self, outcome: EgressOutcome, took: Duration) {
        self.egress[outcome as usize].inc();
        if outcome.was_tried() {
            self.egress_duration.observe(took);
        }
    }

    /// An operation of the plugin on its state has ended.
    pub fn state(&self, outcome: StateOutcome) {
        self.state[outcome as usize].inc();
    }

    /// An answer was composed without one of those that it is composed of.
    pub fn left_out(&self, member: &str) {
        let (of, member) = (self.requests.of.clone(), member.to_owned());
        self.left_out.get_or_create(&OfMember { of, member }).inc();
    }

    /// A secret was made for an instance, and the log says which.
    pub fn secret_issued(&self) {
        self.secrets.inc();
    }
}

impl Requests {
    /// One was answered.
    pub fn answered(&self, took: Duration) {
        self.answered.inc();
        self.duration.observe(took);
    }

    /// One was not.
    pub fn failed(&self, code: u16, fault: Fault, took: Duration) {
        let labels = OfRequest::new(&self.of, code, fault.as_str());
        self.all.get_or_create(&labels).inc();
        self.duration.observe(took);
    }
}

impl OfRequest {
    fn new(of: &OfTarget, code: u16, fault: &'static str) -> Self {
        let of = of.clone();
        Self { of, code, fault }
    }
}

impl Series {
    pub(super) fn of(&self, cloud: &str, target: &str) -> TargetMetrics {
        let requests = self.requests_of(cloud, target);
        let of = requests.of.clone();
        let lookup = |state: CacheState| {
            let (of, state) = (of.clone(), state.as_str());
            self.lookups.get_or_create_owned(&OfLookup { of, state })
        };
        let run = |outcome: RunOutcome| {
            let (of, outcome) = (of.clone(), outcome.as_str());
            self.runs.get_or_create_owned(&OfRun { of, outcome })
        };
        let egress = |outcome: EgressOutcome| {
            let (of, outcome) = (of.clone(), outcome.as_str());
            self.egress.get_or_create_owned(&OfEgress { of, outcome })
        };
        let state = |outcome: StateOutcome| {
            let (of, outcome) = (of.clone(), outcome.as_str());
            self.state.get_or_create_owned(&OfState { of, outcome })
        };
        TargetMetrics {
            requests,
            lookups: CacheState::ALL.map(lookup),
            running: self.running.get_or_create_owned(&of),
            waiting: self.waiting.get_or_create_owned(&of),
            refused: self.refused.get_or_create_owned(&of),
            plugin_duration: self.plugin_duration.get_or_create_owned(&of),
            plugin_cpu: self.plugin_cpu.get_or_create_owned(&of),
            plugin_memory_peak: self.plugin_memory_peak.get_or_create_owned(&of),
            runs: RunOutcome::ALL.map(run),
            tripped: self.tripped.get_or_create_owned(&of),
            traps: self.traps.get_or_create_owned(&of),
            timeouts: self.timeouts.get_or_create_owned(&of),
            egress: EgressOutcome::ALL.map(egress),
            egress_duration: self.egress_duration.get_or_create_owned(&of),
            state: StateOutcome::ALL.map(state),
            secrets: self.secrets.get_or_create_owned(&of),
            left_out: self.left_out.clone(),
        }
    }

    pub(super) fn requests_of(&self, cloud: &str, target: &str) -> Requests {
        let of = OfTarget {
            cloud: cloud.to_owned(),
            target: target.to_owned(),
        };
        let answered = OfRequest::new(&of, 200, "");
        Requests {
            answered: self.requests.get_or_create_owned(&answered),
            duration: self.request_duration.get_or_create_owned(&of),
            all: self.requests.clone(),
            of,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests of nova by the status they got; fault says who should look first, and is empty when all was well",
            self.requests.clone(),
        );
        seconds(
            registry,
            "request_duration",
            "From a request's arrival to its answer; nova gives up after vendordata_dynamic_read_timeout",
            &self.request_duration,
        );
        registry.register(
            "cache_lookups",
            "Where answers came from: kept (hit), another request's run (coalesced), a run of their own (miss; none where nothing is kept)",
            self.lookups.clone(),
        );
        registry.register(
            "calls_running",
            "Calls of the plugin that run now",
            self.running.clone(),
        );
        registry.register(
            "calls_waiting",
            "Calls of the plugin that wait for others to end; raise concurrent_calls if it stays above zero",
            self.waiting.clone(),
        );
        registry.register(
            "calls_refused",
            "Requests turned away with 503 because too many calls were running or waiting",
            self.refused.clone(),
        );
        seconds(
            registry,
            "plugin_duration",
            "From a call's start to its end, with the time it waited for upstreams",
            &self.plugin_duration,
        );
        registry.register_with_unit(
            "plugin_cpu",
            "Processor time of the plugin's calls, with the gateway's work on their behalf",
            Unit::Seconds,
            self.plugin_cpu.clone(),
        );
        registry.register_with_unit(
            "plugin_memory_peak",
            "The most memory that one call has had since the start; memory_bytes is the limit",
            Unit::Bytes,
            self.plugin_memory_peak.clone(),
        );
        registry.register(
            "plugin_calls",
            "Calls of the plugin by how they ended: with an answer, an error of its own (refused), a limit by its name, a crash (trap), a bad answer",
            self.runs.clone(),
        );
        registry.register(
            "breaker_tripped",
            "1 while the plugin is not called, since it failed again and again; a call on trial ends that",
            self.tripped.clone(),
        );
        registry.register(
            "plugin_traps",
            "Calls that crashed: a panic, or a limit of the sandbox",
            self.traps.clone(),
        );
        registry.register(
            "plugin_timeouts",
            "Calls that were still running at their deadline, timeout_ms",
            self.timeouts.clone(),
        );
        registry.register(
            "egress_calls",
            "The plugin's requests to upstreams by how they ended; denied means that no rule of the target's egress permits them",
            self.egress.clone(),
        );
        seconds(
            registry,
            "egress_duration",
            "From sending a plugin's request to the end of the upstream's answer",
            &self.egress_duration,
        );
        registry.register(
            "state_operations",
            "The plugin's operations on its state by how they ended; unavailable means that the store failed or was too slow",
            self.state.clone(),
        );
        registry.register(
            "secrets_issued",
            "Secrets made for instances; each has its line in the log",
            self.secrets.clone(),
        );
        registry.register(
            "members_left_out",
            "Answers of a composed target that went out without one of its members, which had failed",
            self.left_out.clone(),
        );
    }
}
