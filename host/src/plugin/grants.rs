//! What one target lets its plugin do, made ready for use.

use std::sync::Arc;

use super::host::LogBudgets;
use super::limits::Limits;
use super::mask::{CurrentMask, Mask};
use crate::config::{self, CloudName, TargetName};
use crate::egress::{self, Egress};
use crate::openstack::{Granted, LookUps};
use crate::state::{Owner, Space, Store};
use crate::telemetry::metrics::TargetMetrics;

/// A target's grants and limits.
pub struct Grants {
    pub(super) target: TargetName,
    pub(super) cloud: CloudName,
    pub(super) concurrent_calls: u32,
    pub(super) waiting_calls: u32,
    pub(super) config: serde_json::Value,
    pub(super) config_text: String,
    pub(super) limits: Limits,
    pub(super) breaker: Option<config::Breaker>,
    pub(super) log: LogBudgets,
    mask: CurrentMask,
    pub(super) kind: config::Kind,
    pub(super) user_data: bool,
    pub(super) egress: Egress,
    pub(super) egress_limits: config::EgressLimits,
    pub(super) wasi_http: bool,
    /// What the plugin keeps.
    pub(super) state: Option<Space>,
    pub(super) openstack: Granted,
    pub(super) metrics: Arc<TargetMetrics>,
}

impl Grants {
    /// Reads the target's secrets and certificates. What the plugin keeps goes into `store`, if the target is granted state;
    /// what it does is counted in `metrics`; `look_ups` are those of the cloud.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub(crate) fn new(
        cloud: &CloudName,
        name: &TargetName,
        target: &config::Target,
        store: Option<&Store>,
        metrics: Arc<TargetMetrics>,
        look_ups: Option<Arc<LookUps>>,
    ) -> Result<Self, egress::Error> {
        let owner = || Owner::Target(cloud.clone(), name.clone());
        let state = store.zip(target.state);
        let state = state.map(|(store, quota)| store.space(owner(), quota.into()));
        let config = json(&toml::Value::Table(target.config.clone()));
        let limits = Limits::new(target);
        let egress = Egress::new(name, target, metrics.clone())?;
        Ok(Self {
            target: name.clone(),
            cloud: cloud.clone(),
            concurrent_calls: target.concurrent_calls.get(),
            waiting_calls: target.waiting_calls,
            config_text: config.to_string(),
            config,
            limits,
            breaker: target.breaker,
            log: LogBudgets::new(&limits),
            mask: CurrentMask::default(),
            kind: target.kind,
            user_data: target.user_data,
            egress,
            egress_limits: target.egress_limits.clone(),
            wasi_http: target.wasi_http,
            state,
            openstack: Granted {
                look_ups,
                grants: target.openstack.clone(),
            },
            metrics,
        })
    }

    /// Hides the target's secrets as they are now.
    pub(super) fn mask(&self) -> Arc<Mask> {
        self.mask.get(&self.egress.secrets())
    }
}

/// TOML has two kinds of value that JSON has not: dates become text, and what is no number becomes null.
fn json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.iter().map(json).collect(),
        toml::Value::Table(table) => {
            let members = table.iter().map(|(key, value)| (key.clone(), json(value)));
            serde_json::Value::Object(members.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_toml_value_reaches_the_plugin() {
        let table: toml::Table = r#"
            text = "t"
            number = -7
            part = 0.5
            none = nan
            yes = true
            day = 2026-11-20
            list = [1, "two"]
            [inner]
            key = "value"
        "#
        .parse()
        .expect("TOML");

        insta::assert_snapshot!(json(&toml::Value::Table(table)), @r#"{"day":"2026-11-20","inner":{"key":"value"},"list":[1,"two"],"none":null,"number":-7,"part":0.5,"text":"t","yes":true}"#);
    }
}
