//! Lengths of time, counted in buckets without a lock.
//!
//! The library's own histogram has a lock, and an answer from the cache is given by all workers at once: one that is put to
//! sleep while it holds the lock would hold up the others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// nova's connect and read timeouts are 5 seconds by default, so the places around there are told apart best.
const BOUNDS_SECONDS: [f64; 15] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0,
];

/// A histogram; its clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// The last is for all that is longer than the longest bound.
    buckets: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let counts = self.0.buckets.iter();
        let counts = counts.map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Not a number of its own: it has to be the sum of the buckets that are shown.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_time_counts_up_to_its_bound_and_all_above() {
        let histogram = Histogram::default();
        let mut registry = Registry::default();
        registry.register("time", "", histogram.clone());

        for ms in [1, 4_000, 4_001, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }

        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes all");
        insta::assert_snapshot!(text, @r#"
        # HELP time .
        # TYPE time histogram
        time_sum 68.002
        time_count 4
        time_bucket{le="0.001"} 1
        time_bucket{le="0.005"} 1
        time_bucket{le="0.01"} 1
        time_bucket{le="0.025"} 1
        time_bucket{le="0.05"} 1
        time_bucket{le="0.1"} 1
        time_bucket{le="0.25"} 1
        time_bucket{le="0.5"} 1
        time_bucket{le="1.0"} 1
        time_bucket{le="2.0"} 1
        time_bucket{le="3.0"} 1
        time_bucket{le="4.0"} 2
        time_bucket{le="5.0"} 3
        time_bucket{le="7.5"} 3
        time_bucket{le="10.0"} 3
        time_bucket{le="+Inf"} 4
        # EOF
        "#);
    }
}
