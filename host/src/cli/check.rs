//! `vendordock check`.

mod limits;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::{ConfigFile, USAGE};
use crate::config::{
    Cloud, CloudName, Config, Document, Fault, Faults, Kind, LookUp, OnFailure, OnMemberFailure,
    Service, Target, TargetName,
};
use crate::egress::{self, Egress};
use crate::error::chain;
use crate::loader::{self, Error as Loading};
use crate::plugin::{self, ConfigFault, Engine, LoadError, Plugin};
use crate::server::tls::Tls;
use crate::state::Store;
use crate::telemetry::metrics::TargetMetrics;

/// Say what is wrong with the configuration, or what it would serve
///
/// Reads the file, its secrets and certificates, and loads every plugin, as `serve` does; opens no port and asks no
/// other machine. Exit code 0 when all targets would serve, 2 when something is wrong: each fault in a line
/// with its file, line and key.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start worker threads")?;
        runtime.block_on(self.check())
    }

    async fn check(self) -> anyhow::Result<ExitCode> {
        let (config, document) = Config::load(&self.config.path)?;
        let mut faults = Vec::new();
        for listener in &config.server.listen {
            println!("listen on {listener}");
        }
        for listener in config.admin.iter().flat_map(|admin| &admin.listen) {
            println!("administration on {listener}");
        }
        for (name, cloud) in &config.clouds {
            println!("cloud {name}: callers show {}", cloud.auth.require);
            if let Some(keystone) = cloud.validator() {
                if let (Some(auth_url), false) = (&keystone.auth_url, keystone.is_offline()) {
                    println!("  validated at keystone {auth_url}");
                }
                if let Some(jws) = &keystone.jws {
                    println!(
                        "  checked with the public keys in {}",
                        jws.public_keys.display()
                    );
                }
                println!("  accepted: {}", keystone.policy());
            }
            show_look_ups(name, cloud, &config);
        }
        faults.extend(super::caller_faults(&document, &config));
        let engine = Engine::new(&config.engine).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        println!(
            "plugin calls: at most {} at once, memory {}",
            config.engine.concurrent_calls,
            engine.allocator()
        );
        faults.extend(show_state(&config, &document));
        println!(
            "components: at most {} bytes, {} ms to compile",
            config.engine.component_bytes, config.engine.compile_timeout_ms
        );
        let compiler = super::compiler(&config);
        if let Some(tls) = &config.server.tls {
            match Tls::new(tls) {
                Ok(tls) => {
                    if let Some(expiry) = tls.expiry() {
                        println!("warning: {expiry}");
                    }
                }
                Err(errors) => faults.extend(super::tls_faults(&document, &errors)),
            }
        }
        for (name, target) in &config.targets {
            if !target.compose.is_empty() {
                show_composed(name, target, &config);
                continue;
            }
            // What one cloud's plugin is granted, another's is too; the first tells of all.
            let first = loader::load(
                &engine,
                &compiler,
                name,
                target,
                None,
                |_cloud| TargetMetrics::unregistered(),
                |_cloud| None,
            )
            .await
            .into_iter()
            .next();
            match first {
                Some((_, Ok(plugin))) => show(name, target, &plugin, &config),
                Some((_, Err(error))) => {
                    faults.extend(target_faults(&document, name, target, &error))
                }
                None => {}
            }
            for warning in target.warnings() {
                println!("  warning: {warning}");
            }
        }
        for warning in config.warnings() {
            println!("warning: {warning}");
        }
        if faults.is_empty() {
            println!("{}: all well", document.path().display());
            return Ok(ExitCode::SUCCESS);
        }
        faults.sort_by_key(|fault: &Fault| fault.line);
        let path = document.path().to_owned();
        eprintln!("{}", Faults { path, faults });
        Ok(ExitCode::from(USAGE))
    }
}

/// Where targets' state would be, and what keeps the keys from being read. The store itself may be in use.
fn show_state(config: &Config, document: &Document) -> Option<Fault> {
    let state = &config.state;
    let keys = state.key_files();
    let keys: Vec<_> = keys.iter().map(|path| path.display().to_string()).collect();
    println!(
        "state in {}, at most {} bytes, sealed with {}{}",
        state.path.display(),
        state.bytes,
        keys.join(", "),
        if config.grants_state() {
            ""
        } else {
            "; no target is granted any"
        }
    );
    if !config.grants_state() {
        return None;
    }
    let error = Store::check(state).err()?;
    Some(document.fault(&["state", error.key()], chain(&error)))
}

/// What a target would serve, and within which bounds.
fn show(name: &TargetName, target: &Target, plugin: &Plugin, config: &Config) {
    let manifest = plugin.manifest();
    println!(
        "target {name}: {} {} ({})",
        manifest.name, manifest.version, manifest.description
    );
    if let Some(component) = &target.component {
        println!("  component {}", component.display());
    }
    show_callers(target, config);
    show_answers(target);
    println!(
        "  user data {}",
        if target.user_data {
            "granted"
        } else {
            "withheld"
        }
    );
    print!("  limits:\n{}", limits::table(target));
    for rule in &target.egress {
        println!("  may call {rule}{}", rule.limits());
    }
    if !target.egress.is_empty() {
        let limits = &target.egress_limits;
        println!(
            "  one call: at most {} requests, {} at once, {} bytes sent, {} received; wasi:http {}",
            limits.requests,
            limits.concurrent_requests,
            limits.request_bytes,
            limits.response_bytes,
            if target.wasi_http {
                "granted"
            } else {
                "withheld"
            },
        );
    }
    for grant in &target.openstack {
        let whose = match (grant.kind, grant.any) {
            (LookUp::Domain | LookUp::Keypair, _) => "",
            (_, true) => ", of any instance and project",
            (_, false) => ", of the request's own instance",
        };
        println!("  may look up {}{whose}", grant.kind.as_str());
    }
    for (credential, configured) in &target.credentials {
        println!(
            "  may use credential {credential} from {}: {}",
            configured.secret,
            configured.uses()
        );
    }
    for headers in target.headers.values() {
        let origins: Vec<String> = headers.origins.iter().map(ToString::to_string).collect();
        // It has been resolved, or there would be no plugin.
        for (header, source) in headers.resolved().unwrap_or_default().headers {
            println!(
                "  requests to {} get the header {header} from {source}",
                origins.join(", ")
            );
        }
    }
    if let Some(quota) = target.state {
        println!(
            "  may keep {} bytes of state, {} keys, values of {} bytes, in each cloud",
            quota.bytes, quota.keys, quota.value_bytes
        );
    }
    for wanted in &manifest.wants_credentials {
        if !target.credentials.contains_key(wanted) {
            println!("  note: the plugin asks for a credential {wanted:?}, which is not granted");
        }
    }
}

/// Where a cloud's look-ups go, and how they are bounded.
fn show_look_ups(name: &CloudName, cloud: &Cloud, config: &Config) {
    let targets = config.targets.values().filter(|target| target.serves(name));
    let kinds = targets.flat_map(|target| &target.openstack);
    let kinds: BTreeSet<LookUp> = kinds.map(|grant| grant.kind).collect();
    let (Some(keystone), false) = (&cloud.keystone, kinds.is_empty()) else {
        return;
    };
    let services: BTreeSet<Service> = kinds.iter().map(|kind| kind.service()).collect();
    let config = cloud.openstack.clone().unwrap_or_default();
    for service in services {
        let what = service.as_str();
        match (config.endpoints.get(&service), &keystone.auth_url) {
            (Some(endpoint), _) => println!("  looks up {what} at {endpoint}"),
            (None, Some(auth_url)) if service == Service::Identity => {
                println!("  looks up {what} at {auth_url}");
            }
            (None, _) => println!(
                "  looks up {what} at the catalogue's {} endpoint{}",
                config.interface.as_str(),
                config
                    .region
                    .as_ref()
                    .map_or_else(String::new, |region| format!(" in region {region}"))
            ),
        }
    }
    println!(
        "  look-ups: {} ms each, at most {} at once, {} bytes kept",
        config.timeout_ms, config.concurrent_lookups, config.cache_bytes
    );
    let ms = |time: Duration| time.as_millis();
    for kind in kinds {
        println!(
            "    {} kept {} ms, {} ms more while the service is silent",
            kind.as_str(),
            ms(config.keep(kind)),
            ms(config.stale(kind))
        );
    }
}

/// What a target is composed of.
fn show_composed(name: &TargetName, target: &Target, config: &Config) {
    println!("target {name}: composed");
    for member in &target.compose {
        let failing = match member.on_failure {
            OnMemberFailure::LeaveOut => "left out if it fails",
            OnMemberFailure::Fail => "no answer without it",
        };
        println!("  of {}, {failing}", member.target);
    }
    show_callers(target, config);
    show_answers(target);
    println!(
        "  timeout {} ms, answer {} bytes, kept at most {} ms",
        target.timeout_ms, target.response_bytes, target.cache_max_ttl_ms
    );
    for warning in target.warnings() {
        println!("  warning: {warning}");
    }
}

/// Whom a target serves.
fn show_callers(target: &Target, config: &Config) {
    for (cloud_name, cloud) in &config.clouds {
        if !target.serves(cloud_name) {
            continue;
        }
        match &target.accept {
            Some(_) => println!(
                "  serves cloud {cloud_name}, accepted: {}",
                target.policy(&cloud.policy())
            ),
            None => println!("  serves cloud {cloud_name}"),
        }
    }
    if !target.expose {
        println!("  nova cannot ask for it: others are composed of it");
    }
}

/// What nova gets.
fn show_answers(target: &Target) {
    if target.kind == Kind::CloudInit {
        println!("  answers with text for cloud-init");
    }
    if target.on_failure == OnFailure::Empty {
        println!(
            "  answers {} where it fails and the caller is not to blame",
            target.kind.nothing()
        );
    }
}

/// What keeps a target from serving, each with its place in the file.
fn target_faults(
    document: &Document,
    name: &TargetName,
    target: &Target,
    error: &Loading,
) -> Vec<Fault> {
    let table = ["targets", name.as_str()];
    match error {
        Loading::Plugin {
            source: LoadError::Config(wrong),
            ..
        } => {
            let place = |fault: &ConfigFault| {
                let pointer: Vec<&str> = fault.pointer.split('/').skip(1).collect();
                let path = [&table[..], &["config"], &pointer].concat();
                document.fault(&path, &*fault.message)
            };
            wrong.iter().map(place).collect()
        }
        Loading::Grants(first) => {
            let all = Egress::faults(target);
            let all: Vec<&egress::Error> = if all.is_empty() {
                vec![first]
            } else {
                all.iter().collect()
            };
            let place = |error: &egress::Error| {
                let key = match error {
                    egress::Error::Secret { name, .. } => &["credentials", name][..],
                    egress::Error::Header { group, .. } => &["headers", group],
                    egress::Error::Trust(_) => &["ca_file"],
                    egress::Error::Client(_) => &[],
                    _ => &["egress"],
                };
                document.fault(&[&table, key].concat(), chain(error))
            };
            all.into_iter().map(place).collect()
        }
        Loading::Plugin {
            source:
                LoadError::Describe(plugin::Error::Limit { reached, .. })
                | LoadError::Validate(plugin::Error::Limit { reached, .. }),
            ..
        } => {
            let path: Vec<&str> = table.into_iter().chain(reached.limit.key()).collect();
            vec![document.fault(&path, chain(error))]
        }
        error => vec![document.fault(&table, chain(error))],
    }
}
