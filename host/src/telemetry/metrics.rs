//! What the gateway counts, for Prometheus.
//!
//! A label is a name from the configuration or a word of a closed set: never an instance, a project, or what somebody wrote
//! into a URL. Else a stranger could fill the memory of the gateway, and of whoever scrapes it. A request for a target that
//! there is not counts under the target "".
//!
//! The series of a target are looked up once, as `TargetMetrics`; to count is then an addition to a number in memory, also
//! in an answer from the cache, of which there are a hundred thousand a second. `docs/metrics.md` tells operators
//! what each is good for.

mod cloud;
mod histogram;
mod look_ups;
mod target;
mod words;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use self::cloud::CloudMetrics;
use self::histogram::Histogram;
pub use self::look_ups::LookUpMetrics;
pub use self::target::{PluginRun, Requests, TargetMetrics};
pub use self::words::{
    CacheState, EgressOutcome, LookUpOutcome, RunOutcome, StateOutcome, Validation,
};

/// How Prometheus is told the format of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is counted. One for the process, made before what it counts.
pub struct Metrics {
    registry: Registry,
    connections: Gauge,
    requests: target::Series,
    clouds: cloud::Series,
    look_ups: look_ups::Series,
}

/// Something that is going on: it is counted until this is dropped.
#[must_use]
pub struct Ongoing(Gauge);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCloud {
    cloud: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    cloud: String,
    target: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("vendordock");
        let version = env!("CARGO_PKG_VERSION");
        registry.register(
            "build",
            "The version that runs",
            Info::new(Build { version }),
        );
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Open connections of callers; further ones wait in the kernel's queue when it reaches server.connections",
            connections.clone(),
        );
        let requests = target::Series::default();
        requests.register(&mut registry);
        let clouds = cloud::Series::default();
        clouds.register(&mut registry);
        let look_ups = look_ups::Series::default();
        look_ups.register(&mut registry);
        Self {
            registry,
            connections,
            requests,
            clouds,
            look_ups,
        }
    }
}

impl Metrics {
    /// Adds what is looked at only when somebody scrapes: the engine's pool.
    pub fn collect(&mut self, collector: impl Collector) {
        self.registry.register_collector(Box::new(collector));
    }

    /// The series of one target, for those who serve it.
    pub fn target(&self, cloud: &str, target: &str) -> Arc<TargetMetrics> {
        Arc::new(self.requests.of(cloud, target))
    }

    /// The series for requests that name no target of this cloud; nor a cloud, when that is empty.
    pub fn no_target(&self, cloud: &str) -> Requests {
        self.requests.requests_of(cloud, "")
    }

    /// The series of one cloud, for those who let its callers in.
    pub fn cloud(&self, cloud: &str) -> Arc<CloudMetrics> {
        Arc::new(self.clouds.of(cloud))
    }

    /// The series of one cloud's look-ups, for those who make them.
    pub fn look_ups(&self, cloud: &str) -> Arc<LookUpMetrics> {
        Arc::new(self.look_ups.of(cloud))
    }

    /// Counts a connection until what is returned is dropped.
    pub fn connection(&self) -> Ongoing {
        Ongoing::new(&self.connections)
    }

    /// All of it as Prometheus reads it, in the format of [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A string takes all that is written to it.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Ongoing {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers lengths of time. The library adds the unit to the name.
fn seconds(registry: &mut Registry, name: &str, help: &str, family: &Family<OfTarget, Histogram>) {
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::config::LookUp;
    use crate::error::Fault;
    use crate::plugin::Engine;
    use crate::state::Gauges;
    use crate::telemetry::DroppedLines;

    /// The names that an operator types: those of the samples, but for what a histogram adds.
    fn names(text: &str) -> BTreeSet<String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| {
            let (name, kind) = line.split_once(' ').expect("a type");
            match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            }
        };
        types.map(name).collect()
    }

    #[test]
    fn the_manual_has_every_metric_there_is_and_no_other() {
        let engine = Engine::new(&crate::config::Engine::default()).expect("an engine");
        let mut metrics = Metrics::default();
        metrics.collect(engine.pool());
        let (log, _writes) = tracing_appender::non_blocking(std::io::sink());
        metrics.collect(DroppedLines(log.error_counter()));
        metrics.collect(Gauges::none());
        let (target, _cloud) = (metrics.target("c", "t"), metrics.cloud("c"));
        let _look_ups = metrics.look_ups("c");
        // Of members there are series once one has failed.
        target.left_out("m");

        let manual = include_str!("../../../docs/metrics.md");
        let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
        let told: BTreeSet<String> = rows
            .filter_map(|row| row.split_once('`'))
            .map(|(name, _)| name.to_owned())
            .collect();

        assert_eq!(told, names(&metrics.text()));
    }

    #[test]
    fn each_thing_is_counted_where_it_belongs() {
        let metrics = Metrics::default();
        let target = metrics.target("default", "join");
        let cloud = metrics.cloud("default");
        let look_ups = metrics.look_ups("default");
        let second = Duration::from_secs(1);

        look_ups.ended(LookUp::Ports, LookUpOutcome::Stale);
        look_ups.asked(LookUp::Keypair, second);
        target.requests.answered(second);
        target.requests.failed(504, Fault::Guest, second);
        metrics
            .no_target("default")
            .failed(404, Fault::Caller, second);
        target.looked_up(CacheState::Coalesced);
        target.refused_for_load();
        target.egress(EgressOutcome::Denied, second);
        target.egress(EgressOutcome::Answered, second);
        target.state(StateOutcome::Conflict);
        target.secret_issued();
        cloud.validated(Validation::Grace);
        cloud.asked(second);
        let _connection = metrics.connection();
        drop(metrics.connection());
        let running = target.running();
        let _waiting = target.waiting();
        drop(running);

        let text = metrics.text();
        for line in [
            r#"requests_total{cloud="default",target="join",code="200",fault=""} 1"#,
            r#"requests_total{cloud="default",target="join",code="504",fault="guest"} 1"#,
            r#"requests_total{cloud="default",target="",code="404",fault="caller"} 1"#,
            r#"request_duration_seconds_sum{cloud="default",target="join"} 2.0"#,
            r#"cache_lookups_total{cloud="default",target="join",state="coalesced"} 1"#,
            r#"cache_lookups_total{cloud="default",target="join",state="hit"} 0"#,
            r#"calls_refused_total{cloud="default",target="join"} 1"#,
            r#"egress_calls_total{cloud="default",target="join",outcome="denied"} 1"#,
            r#"egress_duration_seconds_count{cloud="default",target="join"} 1"#,
            r#"state_operations_total{cloud="default",target="join",outcome="conflict"} 1"#,
            r#"secrets_issued_total{cloud="default",target="join"} 1"#,
            r#"token_validations_total{cloud="default",outcome="grace"} 1"#,
            r#"token_validation_duration_seconds_count{cloud="default"} 1"#,
            r#"openstack_lookups_total{cloud="default",kind="ports",outcome="stale"} 1"#,
            r#"openstack_lookups_total{cloud="default",kind="ports",outcome="cached"} 0"#,
            r#"openstack_lookup_duration_seconds_count{cloud="default",kind="keypair"} 1"#,
            "connections 1",
            r#"calls_running{cloud="default",target="join"} 0"#,
            r#"calls_waiting{cloud="default",target="join"} 1"#,
        ] {
            let line = format!("vendordock_{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn a_call_adds_its_time_and_leaves_its_mark_when_it_took_more_memory_than_any_before() {
        let metrics = Metrics::default();
        let target = metrics.target("default", "join");
        for memory_bytes in [100, 300, 200] {
            target.ran(PluginRun {
                wall: Duration::from_secs(1),
                cpu: Duration::from_millis(250),
                memory_bytes,
            });
        }

        let text = metrics.text();
        for line in [
            "plugin_duration_seconds_sum{LABELS} 3.0",
            "plugin_duration_seconds_count{LABELS} 3",
            "plugin_cpu_seconds_total{LABELS} 0.75",
            "plugin_memory_peak_bytes{LABELS} 300",
        ] {
            let line = line.replace("LABELS", r#"cloud="default",target="join""#);
            assert!(
                text.contains(&format!("vendordock_{line}\n")),
                "{line}\n{text}"
            );
        }
    }
}
