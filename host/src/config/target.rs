//! `[targets.NAME]`: the plugin that answers, and all that it is granted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::network::described;
use super::{
    Breaker, Cloud, CloudName, Credential, Document, EgressLimits, Fault, Headers, Kind,
    LookUpGrant, Member, OnFailure, Origin, Policy, Rule, StateQuota, TargetName,
};

/// One target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The plugin: a WebAssembly component. A composed target has none.
    pub component: Option<PathBuf>,
    /// What its answer is.
    #[serde(default)]
    pub kind: Kind,
    /// The targets of whose parts its answer is composed.
    #[serde(default)]
    pub compose: Vec<Member>,
    /// Whether nova may ask for it by its name; else it is there to be composed.
    #[serde(default = "yes")]
    pub expose: bool,
    /// What nova gets when there is no answer.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The clouds it serves. The one of `[keystone]`, which has no name, is meant when absent.
    pub clouds: Option<Vec<CloudName>>,
    /// Whose tokens are good for this target, in place of what their keystone's `accept` says.
    pub accept: Option<Policy>,
    /// How long one request may take in all, from its arrival to its answer. Keep it under nova's
    /// `vendordata_dynamic_read_timeout`, which is 5 seconds by default.
    #[serde(default = "four_seconds")]
    pub timeout_ms: NonZeroU32,
    /// How long the plugin may compute in one call; waiting does not count.
    #[serde(default = "one_second")]
    pub cpu_time_ms: NonZeroU32,
    /// The most memory one call may have.
    #[serde(default = "sixty_four_mebibytes")]
    pub memory_bytes: usize,
    /// Elements that all tables of one call may have together.
    #[serde(default = "one_hundred_thousand")]
    pub table_elements: usize,
    /// Instances of core modules that one call may consist of.
    #[serde(default = "thirty_two")]
    pub instances: NonZeroU32,
    /// What the gateway copies out of the plugin's memory in one call of an import, or as an answer.
    #[serde(default = "eight_mebibytes")]
    pub host_call_bytes: usize,
    /// Resources that one call may hold at once: credentials, streams, whatever a language's runtime opens.
    #[serde(default = "one_thousand")]
    pub handles: NonZeroU32,
    /// Calls of the plugin that may run at once, in each cloud.
    #[serde(default = "sixteen")]
    pub concurrent_calls: NonZeroU32,
    /// Calls that may wait for one of those to end. Past that, a request is refused at once.
    #[serde(default = "sixty_four")]
    pub waiting_calls: u32,
    /// The longest answer.
    #[serde(default = "sixty_four_kibibytes")]
    pub response_bytes: usize,
    /// How deep an answer may be nested.
    #[serde(default = "thirty_two")]
    pub response_depth: NonZeroU32,
    /// Lines that one call may write to the log. All calls together may write ten times that in a second.
    #[serde(default = "one_hundred")]
    pub log_lines: u32,
    /// Their length together, and what a plugin that crashed had on its standard error.
    #[serde(default = "thirty_two_kibibytes")]
    pub log_bytes: usize,
    /// When a plugin that fails again and again is given a pause; none: never.
    #[serde(default = "Breaker::usual", deserialize_with = "Breaker::read")]
    pub breaker: Option<Breaker>,
    /// Let the plugin see the instances' user data.
    #[serde(default)]
    pub user_data: bool,
    /// The longest time that an answer is used again, whatever the plugin's hint says. 0 turns the cache off.
    #[serde(default = "one_hour")]
    pub cache_max_ttl_ms: u32,
    /// Where the plugin may send requests. Nowhere, unless listed.
    #[serde(default)]
    pub egress: Vec<Rule>,
    /// What one call may send and receive in all.
    #[serde(default)]
    pub egress_limits: EgressLimits,
    /// Addresses of names, in place of what the system's resolver says. The rules' `networks` hold for them too.
    #[serde(default)]
    pub resolve: BTreeMap<String, Vec<IpAddr>>,
    /// Let the plugin send requests by `wasi:http` as well.
    #[serde(default)]
    pub wasi_http: bool,
    /// Certificates of the authority that signed those of the origins; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Secrets the plugin may have used, by the name it asks for.
    #[serde(default)]
    pub credentials: BTreeMap<String, Credential>,
    /// How much the plugin may keep in `[state]`; nothing when absent.
    pub state: Option<StateQuota>,
    /// What the plugin may look up at the cloud's services. Nothing, unless listed.
    #[serde(default)]
    pub openstack: Vec<LookUpGrant>,
    /// Headers that are added to the plugin's requests, in groups of any name.
    #[serde(default)]
    pub headers: BTreeMap<String, Headers>,
    /// The plugin's own configuration, as its manifest's schema describes it.
    #[serde(default)]
    pub config: toml::Table,
}

impl Target {
    /// What a place in the engine's pool is made for: one call, whatever its target.
    pub(crate) const LARGEST_MEMORY_BYTES: usize = 1 << 30;
    /// The same for tables. StarlingMonkey, which JavaScript runs in, has 7 708 elements.
    pub(crate) const MOST_TABLE_ELEMENTS: usize = 100_000;
    /// And for core modules. A component from componentize-py has 14 of them.
    pub(crate) const MOST_INSTANCES: u32 = 100;

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        if let Some(component) = &mut self.component {
            *component = directory.join(&*component);
        }
        if let Some(ca_file) = &mut self.ca_file {
            *ca_file = directory.join(&*ca_file);
        }
        for rule in &mut self.egress {
            rule.resolve_paths(directory);
        }
        for credential in self.credentials.values_mut() {
            credential.secret.resolve_path(directory);
        }
        for headers in self.headers.values_mut() {
            headers.resolve_paths(directory);
        }
    }

    pub(super) fn check(
        &self,
        name: &TargetName,
        clouds: &BTreeMap<CloudName, Cloud>,
        document: &Document,
    ) -> Vec<Fault> {
        let mut faults = self.check_clouds(name, clouds, document);
        faults.extend(self.check_egress(name, document));
        let table = ["targets", name.as_str()];
        for (credential_name, credential) in &self.credentials {
            let key = [&table[..], &["credentials", credential_name]].concat();
            faults.extend(credential.check(&key, document));
            faults.extend(self.check_origins(&key, &credential.origins, document));
        }
        for (group, headers) in &self.headers {
            let key = [&table[..], &["headers", group]].concat();
            faults.extend(headers.check(&key, document));
            faults.extend(self.check_origins(&key, &headers.origins, document));
        }
        if let Some(quota) = self.state {
            faults.extend(quota.check(name, document));
        }
        faults.extend(self.check_limits(name, document));
        faults
    }

    /// Limits that are none: beyond what the engine has, or what some guest reads.
    fn check_limits(&self, name: &TargetName, document: &Document) -> Vec<Fault> {
        let within = [
            (
                "response_bytes",
                self.response_bytes,
                1024 * 1024,
                "nova keeps six copies of an answer in one config drive; at most 1048576",
            ),
            (
                "response_depth",
                self.response_depth.get() as usize,
                100,
                "some guest's JSON reader gives up beyond; at most 100",
            ),
            (
                "memory_bytes",
                self.memory_bytes,
                Self::LARGEST_MEMORY_BYTES,
                "a place in the engine's pool has no more; at most 1073741824",
            ),
            (
                "table_elements",
                self.table_elements,
                Self::MOST_TABLE_ELEMENTS,
                "a place in the engine's pool has no more; at most 100000",
            ),
            (
                "instances",
                self.instances.get() as usize,
                Self::MOST_INSTANCES as usize,
                "a place in the engine's pool has no more; at most 100",
            ),
            (
                "host_call_bytes",
                self.host_call_bytes,
                128 * 1024 * 1024,
                "so much of the gateway's own memory for one call is no limit; at most 134217728",
            ),
            (
                "handles",
                self.handles.get() as usize,
                100_000,
                "so much of the gateway's own memory for one call is no limit; at most 100000",
            ),
        ];
        within
            .into_iter()
            .filter(|(_, value, most, _)| value > most)
            .map(|(key, _, _, message)| document.fault(&["targets", name.as_str(), key], message))
            .collect()
    }

    fn check_egress(&self, name: &TargetName, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        for rule in &self.egress {
            let Some(address) = rule.forbidden_address() else {
                continue;
            };
            let message = match rule.connection.networks.with(address) {
                Some(networks) => {
                    let mut would_do = rule.clone();
                    would_do.connection.networks = networks;
                    format!("{} is permitted by {would_do} only", described(address))
                }
                None => format!("nothing can be reached at {}", described(address)),
            };
            faults.push(document.fault(&["targets", name.as_str(), "egress"], message));
        }
        for (host, addresses) in &self.resolve {
            let key = ["targets", name.as_str(), "resolve", host];
            let url = format!("https://{host}");
            let is_name = url::Url::parse(&url).is_ok_and(|url| url.domain() == Some(host));
            if !is_name || host.ends_with('.') {
                let message = "the name of a host, in lower case and without a dot at its end";
                faults.push(document.fault(&key, message));
            }
            if addresses.is_empty() {
                faults.push(document.fault(&key, "without an address the name leads nowhere"));
            }
        }
        faults
    }

    /// What goes to some origins goes nowhere else than where the plugin may call.
    fn check_origins(&self, key: &[&str], origins: &[Origin], document: &Document) -> Vec<Fault> {
        let key = [key, &["origins"]].concat();
        let leads_to = |origin| self.egress.iter().any(|rule| rule.covers_origin(origin));
        let strange = origins.iter().filter(|origin| !leads_to(origin));
        strange
            .map(|origin| {
                let message = format!("no rule of the target's `egress` leads to `{origin}`");
                document.fault(&key, message)
            })
            .collect()
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
            if !self.openstack.is_empty() && !cloud.has_account() {
                let key = ["targets", name.as_str(), "openstack"];
                let message = format!(
                    "look-ups are made with the gateway's own account, and it has none in cloud `{cloud_name}`: `auth_url`, \
                     `username` and `password` (or an application credential) of its `keystone` table"
                );
                faults.push(document.fault(&key, message));
            }
            let Some(accept) = &self.accept else { continue };
            let key = ["targets", name.as_str(), "accept"];
            match cloud.validator() {
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
        let plain = |origins: &[Origin]| {
            let plain = origins.iter().filter(|origin| origin.is_plain_text());
            plain.cloned().collect::<Vec<_>>()
        };
        for (name, credential) in &self.credentials {
            for origin in plain(&credential.origins) {
                warnings.push(format!("credential `{name}` goes to {origin} unencrypted"));
            }
            warnings.extend(credential.secret.warning());
        }
        for (group, headers) in &self.headers {
            for origin in plain(&headers.origins) {
                warnings.push(format!("headers `{group}` go to {origin} unencrypted"));
            }
            // What keeps them from being used is told where the target is loaded.
            let resolved = headers.resolved().unwrap_or_default();
            let files = resolved.headers.iter();
            warnings.extend(files.filter_map(|(_, source)| source.warning()));
            warnings.extend(resolved.warnings);
        }
        warnings
    }
}

fn yes() -> bool {
    true
}

fn four_seconds() -> NonZeroU32 {
    const { NonZeroU32::new(4_000).expect("not zero") }
}

fn one_second() -> NonZeroU32 {
    const { NonZeroU32::new(1_000).expect("not zero") }
}

fn thirty_two() -> NonZeroU32 {
    const { NonZeroU32::new(32).expect("not zero") }
}

fn one_thousand() -> NonZeroU32 {
    const { NonZeroU32::new(1_000).expect("not zero") }
}

fn one_hundred() -> u32 {
    100
}

fn one_hundred_thousand() -> usize {
    Target::MOST_TABLE_ELEMENTS
}

fn eight_mebibytes() -> usize {
    8 * 1024 * 1024
}

fn thirty_two_kibibytes() -> usize {
    32 * 1024
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
