//! How full the engine's pool is, looked at when somebody scrapes.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use wasmtime::PoolingAllocatorMetrics;

/// The pool's own numbers; none when memory is allocated on demand.
pub struct Pool(pub(super) Option<PoolingAllocatorMetrics>);

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pool")
    }
}

impl Collector for Pool {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = MetricType::Gauge;
        let help = "Slots of the pool by kind: live ones are in use, warm ones were and start faster than new ones. Kinds are limited by engine.concurrent_calls.";
        let mut slots = encoder.encode_descriptor("pool_slots", help, None, gauge)?;
        let mut slot = |kind: &str, state: &str, count: u64| {
            slots
                .encode_family(&[("kind", kind), ("state", state)])?
                .encode_gauge(&count)
        };
        if let Some(pool) = &self.0 {
            slot("component_instance", "live", pool.component_instances())?;
            slot("core_instance", "live", pool.core_instances())?;
            slot("memory", "live", pool.memories() as u64)?;
            slot("memory", "warm", pool.unused_warm_memories().into())?;
            slot("table", "live", pool.tables() as u64)?;
            slot("table", "warm", pool.unused_warm_tables().into())?;
            slot("stack", "live", pool.stacks() as u64)?;
            slot("stack", "warm", pool.unused_warm_stacks().into())?;
        }
        let help = "Memory that unused slots of the pool keep for the next call.";
        let unit = prometheus_client::registry::Unit::Bytes;
        let mut bytes = encoder.encode_descriptor("pool_kept", help, Some(&unit), gauge)?;
        let mut kept = |kind: &str, count: usize| {
            let family = [("kind", kind)];
            bytes.encode_family(&family)?.encode_gauge(&(count as u64))
        };
        if let Some(pool) = &self.0 {
            kept("memory", pool.unused_memory_bytes_resident())?;
            kept("table", pool.unused_table_bytes_resident())?;
            kept("stack", pool.unused_stack_bytes_resident().unwrap_or(0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn without_a_pool_there_is_nothing_to_tell_and_nothing_goes_wrong() {
        let mut metrics = Metrics::default();
        metrics.collect(Pool(None));

        let text = metrics.text();
        assert!(text.contains("# TYPE vendordock_pool_slots gauge\n"));
        assert!(!text.contains("\nvendordock_pool_slots"));
    }
}
