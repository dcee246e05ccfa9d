//! `vendordock check`.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{ConfigFile, USAGE};
use crate::config::{AuthMethod, Config, Fault, Faults};
use crate::egress::{self, Egress};
use crate::error::chain;
use crate::loader::{self, Error as Loading};
use crate::plugin::{Engine, LoadError};

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
        println!("listen on {}", config.server.listen);
        match (config.auth.method, &config.keystone) {
            (AuthMethod::Keystone, Some(keystone)) => {
                println!("callers prove themselves at keystone {}", keystone.auth_url);
                let projects: Vec<String> = keystone
                    .accept
                    .projects
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                println!(
                    "  accepted: any of roles {:?} in any of {}",
                    keystone.accept.roles,
                    projects.join(", ")
                );
                faults.extend(super::keystone_faults(&document, keystone));
            }
            _ => println!("no authentication: whoever reaches the port may ask for any instance"),
        }
        let engine = Engine::new(&config.engine).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        println!(
            "plugin calls: at most {} at once, memory {}",
            config.engine.concurrent_calls,
            engine.allocator()
        );
        for (name, target) in &config.targets {
            let table = ["targets", name.as_str()];
            match loader::load(&engine, name, target).await {
                Ok(plugin) => {
                    let manifest = plugin.manifest();
                    println!(
                        "target {name}: {} {} ({})",
                        manifest.name, manifest.version, manifest.description
                    );
                    println!("  component {}", target.component.display());
                    println!(
                        "  timeout {} ms, memory {} bytes, answer {} bytes, kept at most {} ms, user data {}",
                        target.timeout_ms,
                        target.memory_bytes,
                        target.response_bytes,
                        target.cache_max_ttl_ms,
                        if target.user_data {
                            "granted"
                        } else {
                            "withheld"
                        },
                    );
                    for origin in &target.egress {
                        println!("  may call {origin}");
                    }
                    for (credential, configured) in &target.credentials {
                        println!(
                            "  may use credential {credential} from {}",
                            configured.secret
                        );
                    }
                    for wanted in &manifest.wants_credentials {
                        if !target.credentials.contains_key(wanted) {
                            println!(
                                "  note: the plugin asks for a credential {wanted:?}, which is not granted"
                            );
                        }
                    }
                }
                Err(Loading::Plugin {
                    source: LoadError::Config(wrong),
                    ..
                }) => {
                    for fault in wrong {
                        let pointer: Vec<&str> = fault.pointer.split('/').skip(1).collect();
                        let path = [&table[..], &["config"], &pointer].concat();
                        faults.push(document.fault(&path, fault.message));
                    }
                }
                Err(Loading::Grants(first)) => {
                    let mut all = Egress::faults(target);
                    if all.is_empty() {
                        all.push(first);
                    }
                    for error in all {
                        let key = match &error {
                            egress::Error::Secret { name, .. } => &["credentials", name][..],
                            egress::Error::Trust(_) => &["ca_file"],
                            egress::Error::Client(_) => &[],
                        };
                        faults.push(document.fault(&[&table, key].concat(), chain(&error)));
                    }
                }
                Err(error) => faults.push(document.fault(&table, chain(&error))),
            }
            for warning in target.warnings() {
                println!("  warning: {warning}");
            }
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
