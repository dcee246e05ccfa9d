//! `[targets.NAME]`: the plugin that answers, and all that it is granted.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Cloud, CloudName, Credential, Document, Fault, Origin, Policy, TargetName};

/// One target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The plugin: a WebAssembly component.
    pub component: PathBuf,
    /// The clouds it serves. The one of `[keystone]`, which has no name, is meant when absent.
    pub clouds: Option<Vec<CloudName>>,
    /// Whose tokens are good for this target, in place of what their keystone's `accept` says.
    pub accept: Option<Policy>,
    /// How long one request may take in all, from its arrival to its answer. Keep it under nova's
    /// `vendordata_dynamic_read_timeout`, which is 5 seconds by default.
    #[serde(default = "four_seconds")]
    pub timeout_ms: NonZeroU32,
    /// The most memory one call may have.
    #[serde(default = "sixty_four_mebibytes")]
    pub memory_bytes: usize,
    /// Calls of the plugin that may run at once, in each cloud.
    #[serde(default = "sixteen")]
    pub concurrent_calls: NonZeroU32,
    /// Calls that may wait for one of those to end. Past that, a request is refused at once.
    #[serde(default = "sixty_four")]
    pub waiting_calls: u32,
    /// The longest answer.
    #[serde(default = "sixty_four_kibibytes")]
    pub response_bytes: usize,
    /// Let the plugin see the instances' user data.
    #[serde(default)]
    pub user_data: bool,
    /// The longest time that an answer is used again, whatever the plugin's hint says. 0 turns the cache off.
    #[serde(default = "one_hour")]
    pub cache_max_ttl_ms: u32,
    /// Origins the plugin may call. None are, unless listed.
    #[serde(default)]
    pub egress: Vec<Origin>,
    /// Certificates of the authority that signed those of the origins; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Secrets the plugin may have used, by the name it asks for.
    #[serde(default)]
    pub credentials: BTreeMap<String, Credential>,
    /// The plugin's own configuration, as its manifest's schema describes it.
    #[serde(default)]
    pub config: toml::Table,
}

impl Target {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.component = directory.join(&self.component);
        if let Some(ca_file) = &mut self.ca_file {
            *ca_file = directory.join(&*ca_file);
        }
        for credential in self.credentials.values_mut() {
            credential.secret.resolve_path(directory);
        }
    }

    pub(super) fn check(
        &self,
        name: &TargetName,
        clouds: &BTreeMap<CloudName, Cloud>,
        document: &Document,
    ) -> Vec<Fault> {
        let mut faults = self.check_clouds(name, clouds, document);
        for (credential_name, credential) in &self.credentials {
            let key = [
                "targets",
                name.as_str(),
                "credentials",
                credential_name,
                "origins",
            ];
            if credential.origins.is_empty() {
                faults.push(document.fault(&key, "without an origin it can never be used"));
            }
            for origin in &credential.origins {
                if !self.egress.contains(origin) {
                    let message = format!("`{origin}` is not among the target's `egress` origins");
                    faults.push(document.fault(&key, message));
                }
            }
        }
        if self.response_bytes > 1024 * 1024 {
            faults.push(document.fault(
                &["targets", name.as_str(), "response_bytes"],
                "nova keeps six copies of an answer in one config drive; at most 1048576",
            ));
        }
        faults
    }

    fn check_clouds(
        &self,
        name: &TargetName,
        clouds: &BTreeMap<CloudName, Cloud>,
        document: &Document,
    ) -> Vec<Fault> {
        let key = ["targets", name.as_str(), "clouds"];
        let known = || {
            let names: Vec<&str> = clouds.keys().map(CloudName::as_str).collect();
            names.join(", ")
        };
        let Some(served) = &self.clouds else {
            let message = format!("which clouds does it serve? Known: {}", known());
            return vec![document.fault(&key, message)];
        };
        let mut faults = Vec::new();
        if served.is_empty() {
            faults.push(document.fault(&key, "an empty list serves nobody"));
        }
        for cloud_name in served {
            let Some(cloud) = clouds.get(cloud_name) else {
                let message = format!("there is no cloud `{cloud_name}`; known: {}", known());
                faults.push(document.fault(&key, message));
                continue;
            };
            let Some(accept) = &self.accept else { continue };
            let key = ["targets", name.as_str(), "accept"];
            match &cloud.keystone {
                Some(keystone) => {
                    faults.extend(accept.check(&key, keystone.is_offline(), document));
                }
                None => {
                    let message = format!(
                        "the callers of cloud `{cloud_name}` show no keystone token, so that they have no roles, projects \
                         and users"
                    );
                    faults.push(document.fault(&key, message));
                }
            }
        }
        faults.dedup();
        faults
    }

    /// Whether it serves this cloud.
    pub fn serves(&self, cloud: &CloudName) -> bool {
        self.clouds.iter().flatten().any(|served| served == cloud)
    }

    /// Whose tokens are good for it, in a cloud with this policy.
    pub fn policy(&self, cloud: &Policy) -> Policy {
        self.accept
            .as_ref()
            .map_or_else(|| cloud.clone(), |own| own.or(cloud))
    }

    /// What will work and is likely not meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.timeout_ms.get() >= 5_000 {
            warnings.push(format!(
                "timeout_ms = {} is not under nova's default vendordata_dynamic_read_timeout of 5 seconds: \
                 nova will have given up",
                self.timeout_ms
            ));
        }
        for (name, credential) in &self.credentials {
            for origin in credential
                .origins
                .iter()
                .filter(|origin| origin.is_plain_text())
            {
                warnings.push(format!("credential `{name}` goes to {origin} unencrypted"));
            }
        }
        warnings
    }
}

fn four_seconds() -> NonZeroU32 {
    const { NonZeroU32::new(4_000).expect("not zero") }
}

fn sixteen() -> NonZeroU32 {
    const { NonZeroU32::new(16).expect("not zero") }
}

fn sixty_four() -> u32 {
    64
}

fn sixty_four_mebibytes() -> usize {
    64 * 1024 * 1024
}

fn sixty_four_kibibytes() -> usize {
    64 * 1024
}

fn one_hour() -> u32 {
    3_600_000
}
