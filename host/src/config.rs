//! The configuration file: one type per table, checked as it is read.
//!
//! What one value must look like is checked by its type, so that the message can point at the
//! line. What concerns several values is checked once, in `Config::load`. Code that is handed a
//! `Config` checks nothing again.

mod credential;
mod document;
mod keystone;
mod name;
mod origin;
mod secret;
mod server;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::credential::Credential;
pub use self::document::{Document, Fault};
pub use self::keystone::{Keystone, Policy, Project};
pub use self::name::TargetName;
pub use self::origin::Origin;
pub use self::secret::{Error as SecretError, SecretSource};
pub use self::server::{Auth, AuthMethod, Cache, Engine, Filter, Log, LogFormat, Server};
pub use self::target::Target;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen, and what a request may be.
    #[serde(default)]
    pub server: Server,
    /// How callers prove who they are.
    #[serde(default)]
    pub auth: Auth,
    /// The keystone that knows nova's tokens.
    pub keystone: Option<Keystone>,
    /// Bounds of the answer cache.
    #[serde(default)]
    pub cache: Cache,
    /// Bounds of the WebAssembly engine.
    #[serde(default)]
    pub engine: Engine,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
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
        let mut config: Self = document.read().map_err(fail)?;
        config.resolve_paths(document.directory());
        let faults = config.check(&document);
        if faults.is_empty() {
            Ok((config, document))
        } else {
            Err(fail(faults))
        }
    }

    fn resolve_paths(&mut self, directory: &Path) {
        if let Some(keystone) = &mut self.keystone {
            keystone.resolve_paths(directory);
        }
        for target in self.targets.values_mut() {
            target.resolve_paths(directory);
        }
    }

    fn check(&self, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        match self.auth.method {
            AuthMethod::Keystone if self.keystone.is_none() => faults.push(Fault::whole(
                "there is no [keystone] table, and without it nobody can be let in; to serve \
                 without authentication, write `method = \"none\"` under [auth]",
            )),
            AuthMethod::None
                if !self.server.listen.ip().is_loopback()
                    && !self.auth.anyone_who_reaches_the_port_may_ask =>
            {
                faults.push(document.fault(
                    &["server", "listen"],
                    format!(
                        "{} can be reached from other machines, and [auth] has \
                         `method = \"none\"`: whoever connects could ask for any instance's \
                         secrets. Listen on 127.0.0.1 or [::1], use keystone, or write \
                         `anyone_who_reaches_the_port_may_ask = true` under [auth]",
                        self.server.listen
                    ),
                ));
            }
            AuthMethod::Keystone | AuthMethod::None => {}
        }
        if self.targets.is_empty() {
            faults.push(Fault::whole(
                "there is no [targets.NAME] table, so there is nothing to serve",
            ));
        }
        for (name, target) in &self.targets {
            faults.extend(target.check(name, document));
        }
        faults
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
method = "none"

[targets.join]
component = "join.wasm"
timeout_ms = 0
egress = ["https://ipa.example.test/ipa", "https://ok.example.test"]
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
        vendordock.toml:11: targets.join.egress: `https://ipa.example.test/ipa` is not an origin; write `https://ipa.example.test`
        vendordock.toml:12: targets.join.colour: unknown key `colour`; known here: ca_file, cache_max_ttl_ms, component, config, credentials, egress, memory_bytes, response_bytes, timeout_ms, user_data
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
auth.method = "none"
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
auth.method = "none"
[targets.join]
component = "join.wasm"
egress = ["https://ipa.example.test"]
[targets.join.credentials.ipa]
secret = { file = "password" }
origins = ["https://elsewhere.example.test"]
"#;
        insta::assert_snapshot!(faults(text), @"vendordock.toml:8: targets.join.credentials.ipa.origins: `https://elsewhere.example.test` is not among the target's `egress` origins");
    }
}
