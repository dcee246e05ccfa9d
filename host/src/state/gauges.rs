//! How full the store is, looked at when somebody scrapes.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Condition, Owner, Store};

/// The store's own numbers; none where there is no store.
pub struct Gauges(pub(super) Option<Store>);

impl Gauges {
    /// Of a gateway whose targets keep nothing.
    pub fn none() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let owners = self.0.as_ref().map(|Store(shared)| {
            let owners = shared.owners.lock();
            let owners = owners.unwrap_or_else(std::sync::PoisonError::into_inner);
            owners.clone()
        });
        let used = owners.into_iter().flatten().filter_map(|owner| {
            let Store(shared) = self.0.as_ref()?;
            let used = shared.state().usage.of(&owner.name());
            let Owner::Target(cloud, target) = owner;
            Some((cloud, target, used))
        });
        let used: Vec<_> = used.collect();
        let gauge = MetricType::Gauge;
        let help = "Keys that the target has, expired ones among them for a while; its quota is state.keys";
        let mut keys = encoder.encode_descriptor("state_keys", help, None, gauge)?;
        for (cloud, target, used) in &used {
            let labels = [("cloud", cloud.as_str()), ("target", target.as_str())];
            keys.encode_family(&labels)?.encode_gauge(&used.keys)?;
        }
        let help = "Bytes of those keys and their values; the quota is state.bytes";
        let mut bytes = encoder.encode_descriptor("state_used", help, Some(&Unit::Bytes), gauge)?;
        for (cloud, target, used) in &used {
            let labels = [("cloud", cloud.as_str()), ("target", target.as_str())];
            bytes.encode_family(&labels)?.encode_gauge(&used.bytes)?;
        }
        let help = "1 while the state can be read and written, 0 when its file was damaged and set aside, or the disk fails";
        let mut up = encoder.encode_descriptor("state_up", help, None, gauge)?;
        let help = "Commits that failed, and attempts to open the file again";
        let failures = self.0.as_ref().map(|Store(shared)| {
            let state = shared.state();
            let works = matches!(state.database, Condition::Works(_));
            (u64::from(works), state.failures)
        });
        if let Some((works, _)) = failures {
            up.encode_gauge(&works)?;
        }
        let counter = MetricType::Counter;
        let mut failed = encoder.encode_descriptor("state_failures", help, None, counter)?;
        if let Some((_, failures)) = failures {
            failed.encode_counter::<NoLabelSet, u64, u64>(&failures, None)?;
        }
        Ok(())
    }
}
