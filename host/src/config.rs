//! The configuration file: one type per table, checked as it is read.
//!
//! What one value must look like is checked by its type, so that the message can point at the
//! line. What concerns several values is checked once, in `Config::load`. Code that is handed a
//! `Config` checks nothing again.

mod answer;
mod auth;
mod breaker;
mod cloud;
mod credential;
mod destination;
mod document;
mod headers;
mod keystone;
mod listener;
mod name;
pub mod network;
mod one_or_many;
mod openstack;
mod origin;
mod policy;
mod rule;
mod secret;
mod server;
mod state;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::answer::{Kind, Member, OnFailure, OnMemberFailure};
pub use self::auth::{Auth, ClientCertificate, Proof, Require, Subject, TokenHash};
pub use self::breaker::Breaker;
pub use self::cloud::Cloud;
pub use self::credential::{Credential, SchemeGrant, SchemeKind};
pub use self::destination::{Destination, Error as DestinationError};
pub use self::document::{Document, Fault};
pub use self::headers::{EnvError, ExtraHeader, Headers};
pub use self::keystone::{
    Account, ApplicationCredential, AuthUrl, Jws, JwsAlgorithm, JwsMode, Keystone,
};
pub use self::listener::{Listener, Listeners};
pub use self::name::{CloudName, TargetName};
pub use self::network::Networks;
pub use self::openstack::{Endpoint, Interface, LookUp, LookUpGrant, OpenStack, Service};
pub use self::origin::Origin;
pub use self::policy::{Policy, Project, Reference, User};
pub use self::rule::{ClientIdentity, Connection, EgressLimits, METHODS, Rule};
pub use self::secret::{Error as SecretError, SecretSource};
pub use self::server::{
    Admin, Cache, Engine, Filter, HeaderBytes, Log, LogFormat, Mode, Server, Tls, Traces,
};
pub use self::state::{State, StateQuota};
pub use self::target::Target;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen, and what a request may be.
    #[serde(default)]
    pub server: Server,
    /// A listener for those who run the gateway.
    pub admin: Option<Admin>,
    /// How callers of the cloud without a name prove who they are.
    auth: Option<Auth>,
    /// The keystone that knows nova's tokens there.
    keystone: Option<Keystone>,
    /// Where its plugins' look-ups go.
    openstack: Option<OpenStack>,
    /// The clouds that have a name.
    #[serde(default, rename = "clouds")]
    named: BTreeMap<CloudName, Cloud>,
    /// All clouds, the one without a name among them as `default`.
    #[serde(skip)]
    pub clouds: BTreeMap<CloudName, Cloud>,
    /// Bounds of the answer cache.
    #[serde(default)]
    pub cache: Cache,
    /// Bounds of the WebAssembly engine.
    #[serde(default)]
    pub engine: Engine,
    /// What plugins keep.
    #[serde(default)]
    pub state: State,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
    /// Spans for a collector.
    pub traces: Option<Traces>,
    /// The targets by name.
    #[serde(default)]
    pub targets: BTreeMap<TargetName, Target>,
}

/// Every mistake of one file, found in one run.
#[derive(Debug)]
pub struct Faults {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{}", self.path.display())?;
            if let Some(line) = fault.line {
                write!(formatter, ":{line}")?;
            }
            write!(formatter, ": ")?;
            if !fault.key.is_empty() {
                write!(formatter, "{}: ", fault.key)?;
            }
            write!(formatter, "{}", fault.message)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it are taken from the file's own directory.
    ///
    /// # Errors
    ///
    /// Every mistake of the file, each with its key and line.
    pub fn load(path: &Path) -> Result<(Self, Document), Faults> {
        let fail = |faults| Faults {
            path: path.to_owned(),
            faults,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| fail(vec![Fault::whole(format!("cannot be read: {error}"))]))?;
        let document = Document::new(path, text);
        let without_source = answer::without_source(&document);
        let mut config: Self = document.read().map_err(|mut faults: Vec<Fault>| {
            faults.extend(without_source.iter().cloned());
            faults.sort_by_key(|fault| fault.line);
            fail(faults)
        })?;
        config.gather_clouds();
        config.resolve_paths(document.directory());
        let mut faults = config.check(&document);
        faults.extend(without_source);
        faults.sort_by_key(|fault| fault.line);
        if faults.is_empty() {
            Ok((config, document))
        } else {
            Err(fail(faults))
        }
    }

    /// Most sites have one cloud and give it no name. To the rest of the program it is one like the others.
    fn gather_clouds(&mut self) {
        self.clouds = std::mem::take(&mut self.named);
        let unnamed = self.auth.is_some()
            || self.keystone.is_some()
            || self.openstack.is_some()
            || self.clouds.is_empty();
        if unnamed {
            let cloud = Cloud {
                auth: self.auth.take().unwrap_or_default(),
                keystone: self.keystone.take(),
                openstack: self.openstack.take(),
            };
            // A named one of that name is reported by `check`, as its keys are then in two places.
            self.clouds.entry(CloudName::unnamed()).or_insert(cloud);
        }
        let default = [CloudName::unnamed()];
        for target in self.targets.values_mut() {
            if target.clouds.is_none() && self.clouds.contains_key(&default[0]) {
                target.clouds = Some(default.to_vec());
            }
        }
    }

    fn resolve_paths(&mut self, directory: &Path) {
        self.server.resolve_paths(directory);
        self.state.resolve_paths(directory);
        if let Some(admin) = &mut self.admin {
            admin.resolve_paths(directory);
        }
        for cloud in self.clouds.values_mut() {
            cloud.resolve_paths(directory);
        }
        for target in self.targets.values_mut() {
            target.resolve_paths(directory);
        }
    }

    fn check(&self, document: &Document) -> Vec<Fault> {
        let mut faults = self.server.check(document);
        faults.extend(self.state.check(document));
        if let Some(admin) = &self.admin {
            faults.extend(admin.check(&self.server, document));
        }
        if let Some(traces) = &self.traces {
            faults.extend(traces.check(document));
        }
        for (name, cloud) in &self.clouds {
            faults.extend(cloud.check(name, &self.server, document));
        }
        if document.has(&["clouds", CloudName::unnamed().as_str()]) {
            let message = "`default` is the cloud of [auth] and [keystone]: write its keys there, or choose another name";
            faults.push(document.fault(&["clouds", CloudName::unnamed().as_str()], message));
        }
        if self.targets.is_empty() {
            faults.push(Fault::whole(
                "there is no [targets.NAME] table, so there is nothing to serve",
            ));
        }
        for (name, target) in &self.targets {
            faults.extend(target.check(name, &self.clouds, document));
            faults.extend(answer::check(name, target, &self.targets, document));
        }
        faults
    }

    /// Whether any target is granted state, so that there must be a store.
    pub fn grants_state(&self) -> bool {
        self.targets.values().any(|target| target.state.is_some())
    }

    /// What will work and is likely not meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.server.warnings();
        let accounts = self
            .clouds
            .values()
            .filter_map(|cloud| cloud.keystone.as_ref());
        warnings.extend(accounts.flat_map(Keystone::warnings));
        warnings.extend(answer::warnings(&self.targets));
        let calls = |target: &Target| {
            if target.component.is_none() {
                return 0;
            }
            let clouds = target.clouds.as_ref().map_or(0, Vec::len);
            target.concurrent_calls.get() as usize * clouds
        };
        let wanted: usize = self.targets.values().map(calls).sum();
        let most = self.engine.concurrent_calls.get() as usize;
        if wanted > most {
            warnings.push(format!(
                "the targets may run {wanted} calls together, and [engine] has room for {most}: when all are busy, they \
                 keep each other waiting"
            ));
        }
        let kept = |target: &Target| {
            let clouds = target.clouds.as_ref().map_or(0, Vec::len) as u64;
            let bytes = target.state.map_or(0, |quota| quota.bytes.get());
            bytes.saturating_mul(clouds)
        };
        let granted = self.targets.values().map(kept);
        let granted = granted.fold(0, u64::saturating_add);
        if granted > self.state.bytes.get() {
            warnings.push(format!(
                "the targets may keep {granted} bytes of state together, and [state] has room for {}: one that is within \
                 its quota may find the store full",
                self.state.bytes
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let directory = tempfile::tempdir().expect("a directory for the file");
        let path = directory.path().join("vendordock.toml");
        std::fs::write(&path, text).expect("a file to read back");
        match Config::load(&path) {
            Ok(_) => String::new(),
            Err(faults) => faults
                .to_string()
                .replace(&path.display().to_string(), "vendordock.toml"),
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_in_one_run_with_key_line_and_suggestion() {
        insta::assert_snapshot!(faults(
            r#"[server]
lisen = "127.0.0.1:9090"
body_limit_bytes = "many"

[auth]
require = "none"

[targets.join]
component = "join.wasm"
timeout_ms = 0
egress = ["https://IPA.example.test", "https://ok.example.test"]
colour = "blue"

[targets.static]
component = "x.wasm"

[targets.other]
timeout_ms = 10
"#
        ), @r#"
        vendordock.toml:2: server.lisen: unknown key `lisen`; did you mean `listen`?
        vendordock.toml:3: server.body_limit_bytes: invalid type: string "many", expected usize
        vendordock.toml:10: targets.join.timeout_ms: invalid value: integer `0`, expected a nonzero u32
        vendordock.toml:11: targets.join.egress: `https://IPA.example.test` is not how a rule is written; write `https://ipa.example.test`
        vendordock.toml:12: targets.join.colour: unknown key `colour`; known here: accept, breaker, ca_file, cache_max_ttl_ms, clouds, component, compose, concurrent_calls, config, cpu_time_ms, credentials, egress, egress_limits, expose, handles, headers, host_call_bytes, instances, kind, log_bytes, log_lines, memory_bytes, on_failure, openstack, resolve, response_bytes, response_depth, state, table_elements, timeout_ms, user_data, waiting_calls, wasi_http
        vendordock.toml:14: targets.static: nova keeps the name `static` for its own provider and drops what a target of that name answers
        vendordock.toml:17: targets.other: the key `component` is missing
        "#);
    }

    #[test]
    fn a_file_that_is_not_toml_is_reported_with_its_line() {
        insta::assert_snapshot!(faults("[server]\nlisten = \n"), @"vendordock.toml:2: string values must be quoted, expected literal string");
    }

    #[test]
    fn serving_the_network_without_authentication_needs_plain_words() {
        let open = r#"
server.listen = "0.0.0.0:9090"
auth.require = "none"
targets.join.component = "join.wasm"
"#;
        assert!(
            faults(open).contains("vendordock.toml:2: server.listen: 0.0.0.0:9090 can be reached")
        );

        let said = format!("auth.anyone_who_reaches_the_port_may_ask = true\n{open}");
        assert_eq!(faults(&said), "");
    }

    #[test]
    fn keystone_is_the_default_and_must_be_described() {
        assert!(faults("targets.join.component = \"join.wasm\"").contains("no [keystone] table"));
    }

    #[test]
    fn a_credential_goes_to_granted_origins_only() {
        let text = r#"
auth.require = "none"
[targets.join]
component = "join.wasm"
egress = ["https://ipa.example.test"]
[targets.join.credentials.ipa]
secret = { file = "password" }
origins = ["https://elsewhere.example.test"]
"#;
        insta::assert_snapshot!(faults(text), @"vendordock.toml:8: targets.join.credentials.ipa.origins: no rule of the target's `egress` leads to `https://elsewhere.example.test`");
    }
}
