//! From a configuration to a gateway: its clouds, and their targets with their plugins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::auth::{Account, Auth};
use crate::cache::Answers;
use crate::cli::{caller_faults, compiler};
use crate::config::{CloudName, Config, Document, Faults, Policy, Target as Granting};
use crate::dispatch::{Cloud, Gateway, Source, Target};
use crate::error::chain;
use crate::loader;
use crate::openstack::LookUps;
use crate::plugin::Engine;
use crate::plugin::engine::Allocator;
use crate::state::{Gauges, Store};
use crate::telemetry::metrics::{Metrics, TargetMetrics};

pub(super) type Clouds = HashMap<CloudName, Cloud>;

/// Reads the clouds' secrets, certificates and keys: without them the configuration cannot be used.
pub(super) fn clouds(
    config: &Config,
    document: &Document,
    metrics: &Metrics,
) -> anyhow::Result<Clouds> {
    let faults = caller_faults(document, config);
    if !faults.is_empty() {
        let path = document.path().to_owned();
        return Err(Faults { path, faults }.into());
    }
    let mut clouds = HashMap::new();
    for (name, cloud) in &config.clouds {
        let accept = cloud.policy();
        let served = config.targets.values().filter(|target| target.serves(name));
        let served: Vec<&Granting> = served.collect();
        let mut policies: Vec<Policy> =
            served.iter().map(|target| target.policy(&accept)).collect();
        policies.push(accept.clone());
        policies.dedup();
        let context = || format!("cloud {name}");
        let keystone = cloud.keystone.as_ref().filter(|_some| cloud.has_account());
        let account = keystone.map(Account::new).transpose();
        let account = account.with_context(context)?;
        let auth = Auth::new(
            cloud,
            account.clone(),
            config.cache.tokens,
            policies,
            metrics.cloud(name.as_str()),
        )
        .with_context(context)?;
        let look_ups = match (keystone, account) {
            (Some(keystone), Some(account))
                if served.iter().any(|target| !target.openstack.is_empty()) =>
            {
                let config = cloud.openstack.clone().unwrap_or_default();
                let metrics = metrics.look_ups(name.as_str());
                let look_ups = LookUps::new(keystone, config, account, metrics);
                Some(look_ups.with_context(context)?)
            }
            _ => None,
        };
        let targets = HashMap::new();
        let cloud = Cloud {
            auth,
            accept,
            look_ups,
            targets,
            no_target: metrics.no_target(name.as_str()),
        };
        clouds.insert(name.clone(), cloud);
    }
    Ok(clouds)
}

/// Opens the store, when some target is granted state.
pub(super) fn store(config: &Config, document: &Document) -> anyhow::Result<Option<Store>> {
    if !config.grants_state() {
        return Ok(None);
    }
    match Store::open(&config.state) {
        Ok(store) => Ok(Some(store)),
        // A start that comes a moment later may find it free.
        Err(error) if error.may_pass() => Err(error).context("[state]"),
        Err(error) => {
            let path = document.path().to_owned();
            let faults = vec![document.fault(&["state", error.key()], chain(&error))];
            Err(Faults { path, faults }.into())
        }
    }
}

/// Makes everything ready that serving needs.
pub(super) async fn gateway(
    config: &Config,
    mut clouds: Clouds,
    store: Option<&Store>,
    metrics: &mut Metrics,
) -> anyhow::Result<Gateway> {
    let engine = Engine::new(&config.engine).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    metrics.collect(engine.pool());
    metrics.collect(store.map_or_else(Gauges::none, Store::gauges));
    match engine.allocator() {
        Allocator::Pooling => tracing::info!("memory for plugin calls comes from a pool"),
        Allocator::OnDemand { reason } => tracing::warn!(
            reason,
            "memory for plugin calls is allocated on demand: each call costs several times more"
        ),
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for (name, cloud) in &clouds {
        if cloud.auth.is_open() {
            tracing::warn!(
                vendordata.cloud = %name,
                "serving without authentication: whoever reaches the port may ask for any instance"
            );
        }
    }
    // All at once, so that one that takes its time keeps none of the others waiting.
    let compiler = compiler(config);
    let mut loading = Vec::new();
    for (name, target) in &config.targets {
        let of_clouds = target.clouds.iter().flatten().map(|cloud| {
            let counted = metrics.target(cloud.as_str(), name.as_str());
            let look_ups = clouds.get(cloud).and_then(|cloud| cloud.look_ups.clone());
            (cloud.clone(), (counted, look_ups))
        });
        let of_clouds: HashMap<CloudName, (Arc<TargetMetrics>, Option<Arc<LookUps>>)> =
            of_clouds.collect();
        let (engine, compiler) = (engine.clone(), compiler.clone());
        let (name, target, store) = (name.clone(), target.clone(), store.cloned());
        loading.push(tokio::spawn(async move {
            let started = Instant::now();
            let counted = |cloud: &CloudName| of_clouds[cloud].0.clone();
            let look_ups = |cloud: &CloudName| of_clouds[cloud].1.clone();
            let store = store.as_ref();
            let plugins =
                loader::load(&engine, &compiler, &name, &target, store, counted, look_ups).await;
            (plugins, started.elapsed())
        }));
    }
    let mut generations = 1..;
    for ((name, target), loaded) in config.targets.iter().zip(loading) {
        for warning in target.warnings() {
            tracing::warn!(vendordata.target = %name, "{warning}");
        }
        let (plugins, took) = loaded
            .await
            .with_context(|| format!("loading target {name}"))?;
        let time_ms = took.as_secs_f64() * 1_000.0;
        let sources: Vec<(CloudName, Source)> = if target.compose.is_empty() {
            let plugins = plugins.into_iter();
            plugins
                .map(|(cloud, plugin)| (cloud, Source::Plugin(plugin.map(Arc::new))))
                .collect()
        } else {
            let clouds = target.clouds.iter().flatten();
            clouds
                .map(|cloud| (cloud.clone(), Source::Composed(target.compose.clone())))
                .collect()
        };
        let is_member = config.targets.values().any(|other| other.composes(name));
        for (cloud_name, source) in sources {
            match &source {
                Source::Composed(members) => tracing::info!(
                    vendordata.target = %name,
                    vendordata.cloud = %cloud_name,
                    members = members.len(),
                    "composed"
                ),
                Source::Plugin(Ok(plugin)) => tracing::info!(
                    vendordata.target = %name,
                    vendordata.cloud = %cloud_name,
                    plugin = plugin.manifest().name,
                    version = plugin.manifest().version,
                    time_ms,
                    "loaded"
                ),
                Source::Plugin(Err(error)) => tracing::error!(
                    vendordata.target = %name,
                    vendordata.cloud = %cloud_name,
                    "not serving this target: {}",
                    chain(error)
                ),
            }
            let Some(cloud) = clouds.get_mut(&cloud_name) else {
                continue;
            };
            let target = Target {
                name: name.clone(),
                cloud: cloud_name.clone(),
                exposed: target.expose,
                kind: target.kind,
                response_bytes: target.response_bytes,
                is_member,
                on_failure: target.on_failure,
                accept: target.policy(&cloud.accept),
                generation: generations.next().unwrap_or_default(),
                timeout: Duration::from_millis(target.timeout_ms.get().into()),
                cache_max_ttl: Duration::from_millis(target.cache_max_ttl_ms.into()),
                source,
                metrics: metrics.target(cloud_name.as_str(), name.as_str()),
            };
            cloud.targets.insert(name.clone(), Arc::new(target));
        }
    }
    Ok(Gateway {
        clouds,
        answers: Answers::new(&config.cache),
        body_limit_bytes: config.server.body_limit_bytes,
        no_cloud: metrics.no_target(""),
        stopping: Arc::default(),
        body_timeout: Duration::from_millis(config.server.body_timeout_ms.get().into()),
    })
}
