//! `[targets.NAME]`: the plugin that answers, and all that it is granted.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Credential, Document, Fault, Origin, TargetName};

/// One target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The plugin: a WebAssembly component.
    pub component: PathBuf,
    /// How long one request may take in all, from its arrival to its answer. Keep it under nova's
    /// `vendordata_dynamic_read_timeout`, which is 5 seconds by default.
    #[serde(default = "four_seconds")]
    pub timeout_ms: NonZeroU32,
    /// The most memory one call may have.
    #[serde(default = "sixty_four_mebibytes")]
    pub memory_bytes: usize,
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

    pub(super) fn check(&self, name: &TargetName, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
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

fn sixty_four_mebibytes() -> usize {
    64 * 1024 * 1024
}

fn sixty_four_kibibytes() -> usize {
    64 * 1024
}

fn one_hour() -> u32 {
    3_600_000
}
