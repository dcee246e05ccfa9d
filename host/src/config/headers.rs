//! `[targets.NAME.headers.NAME]`: headers that the gateway adds to the plugin's requests.
//!
//! In front of an upstream often stands a gateway that wants a pair of headers, which concern neither the plugin nor the
//! upstream's own log-in. Tools hand such headers on in environment variables with a prefix, and operators have them set so
//! for other tools already. The values are secrets, all of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use reqwest::header::HeaderName;
use serde::Deserialize;

use super::{Document, Fault, Origin, SecretSource};

/// More than any gateway asks for.
const MOST_HEADERS: usize = 64;

/// What the gateway, its HTTP client, or the plugin's own body and its answer depend on.
const RESERVED: [&str; 14] = [
    "connection",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const RESERVED_PREFIXES: [&str; 5] = ["accept", "content-", "if-", "proxy-", "sec-"];

/// Some headers, and where they go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// The origins whose requests get them; each must be among the target's `egress`.
    pub origins: Vec<Origin>,
    /// Headers by name.
    #[serde(default)]
    set: BTreeMap<ExtraHeader, SecretSource>,
    /// The environment variables whose names begin so are headers too, `PREFIX_CF_ACCESS_CLIENT_ID` is
    /// `Cf-Access-Client-Id`. What stands in `set` comes first.
    env_prefix: Option<String>,
}

/// A header's name as the operator spells it. It is none of those that the gateway or the plugin needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ExtraHeader(String);

/// Why a name is not one of a header to add.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has characters that no header's name has, or none at all.
    #[error("`{0}` is no header's name")]
    NoName(String),
    /// The request would mean something else with it.
    #[error("the header `{0}` is the gateway's or the plugin's to set")]
    Reserved(String),
}

/// Why the environment's headers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A variable stands for no header.
    #[error("the environment variable {variable}")]
    Name {
        /// Which.
        variable: String,
        /// Why.
        source: NameError,
    },
    /// Two stand for the same one.
    #[error(
        "the environment variables {first} and {second} are both the header `{name}`, and differ"
    )]
    Twice {
        /// The header.
        name: String,
        /// One variable.
        first: String,
        /// The other.
        second: String,
    },
    /// More than `MOST_HEADERS`.
    #[error("{0} headers are more than the {MOST_HEADERS} that may be added")]
    TooMany(usize),
}

/// The headers of a table, those of the environment among them.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Where each has its value from.
    pub headers: Vec<(ExtraHeader, SecretSource)>,
    /// What is likely not meant.
    pub warnings: Vec<String>,
}

impl ExtraHeader {
    /// For the client.
    pub fn name(&self) -> HeaderName {
        HeaderName::from_bytes(self.0.as_bytes()).expect("it was checked as it was read")
    }
}

impl TryFrom<String> for ExtraHeader {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            return Err(NameError::NoName(text));
        };
        let name = name.as_str();
        let mut prefixes = RESERVED_PREFIXES.iter();
        if RESERVED.contains(&name) || prefixes.any(|prefix| name.starts_with(prefix)) {
            return Err(NameError::Reserved(text));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for ExtraHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Headers {
    pub(super) fn resolve_paths(&mut self, directory: &std::path::Path) {
        for source in self.set.values_mut() {
            source.resolve_path(directory);
        }
    }

    /// `key` is its own table. The environment is looked at when the target is loaded.
    pub(super) fn check(&self, key: &[&str], document: &Document) -> Vec<Fault> {
        let at = |name| [key, &[name]].concat();
        let mut faults = Vec::new();
        if self.origins.is_empty() {
            faults.push(document.fault(&at("origins"), "without an origin they go nowhere"));
        }
        if self.set.is_empty() && self.env_prefix.is_none() {
            let message = "no header: give some in `set`, or an `env_prefix`";
            faults.push(document.fault(key, message));
        }
        if self.env_prefix.as_ref().is_some_and(String::is_empty) {
            let message = "an empty prefix makes headers of the whole environment";
            faults.push(document.fault(&at("env_prefix"), message));
        }
        let mut seen: BTreeMap<String, &ExtraHeader> = BTreeMap::new();
        for header in self.set.keys() {
            if let Some(first) = seen.insert(header.name().to_string(), header) {
                let message = format!("`{first}` and `{header}` are one header");
                let header = [key, &["set", &header.0]].concat();
                faults.push(document.fault(&header, message));
            }
        }
        faults
    }

    /// All of its headers.
    ///
    /// # Errors
    ///
    /// When a variable of the environment stands for no header.
    pub fn resolved(&self) -> Result<Resolved, EnvError> {
        self.resolved_in(std::env::vars_os())
    }

    fn resolved_in(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Resolved, EnvError> {
        let mut resolved = Resolved::default();
        let mut found: BTreeMap<String, (ExtraHeader, String, OsString)> = BTreeMap::new();
        let mut variables: Vec<(String, OsString)> = environment
            .filter_map(|(variable, value)| {
                let named = self.variable(&variable)?;
                // As if it were not set, which is what a shell's user means by it.
                (!value.is_empty()).then_some((named, value))
            })
            .collect();
        variables.sort();
        for (variable, value) in variables {
            let rest = &variable[self.env_prefix.as_deref().unwrap_or_default().len()..];
            let spelled = canonical(rest);
            let header = ExtraHeader::try_from(spelled).map_err(|source| EnvError::Name {
                variable: variable.clone(),
                source,
            })?;
            if header.0.starts_with('-') || header.0.ends_with('-') {
                resolved.warnings.push(format!(
                    "the environment variable {variable} is the header `{header}`, with a hyphen at its end"
                ));
            }
            let name = header.name().to_string();
            if let Some((_, first, other)) = found.get(&name)
                && *other != value
            {
                return Err(EnvError::Twice {
                    name: header.0,
                    first: first.clone(),
                    second: variable,
                });
            }
            found.insert(name, (header, variable, value));
        }
        for (header, source) in &self.set {
            if let Some((_, variable, _)) = found.remove(header.name().as_str()) {
                resolved.warnings.push(format!(
                    "the header `{header}` comes from {source}, and the environment variable {variable} is not used"
                ));
            }
            resolved.headers.push((header.clone(), source.clone()));
        }
        for (header, variable, _) in found.into_values() {
            resolved.headers.push((header, SecretSource::Env(variable)));
        }
        if let Some(prefix) = &self.env_prefix
            && resolved.headers.len() == self.set.len()
            && resolved.warnings.is_empty()
        {
            resolved.warnings.push(format!(
                "no environment variable gives a header with the prefix {prefix}"
            ));
        }
        if resolved.headers.len() > MOST_HEADERS {
            return Err(EnvError::TooMany(resolved.headers.len()));
        }
        Ok(resolved)
    }

    /// The name of a variable that has the prefix. What is no text has a character that no header's name has: it is told by
    /// that.
    fn variable(&self, name: &OsStr) -> Option<String> {
        let prefix = self
            .env_prefix
            .as_deref()
            .filter(|prefix| !prefix.is_empty())?;
        let named = name.as_bytes().starts_with(prefix.as_bytes());
        named.then(|| name.to_string_lossy().into_owned())
    }
}

/// `CF_ACCESS_CLIENT_ID` as `Cf-Access-Client-Id`.
fn canonical(variable: &str) -> String {
    let words = variable.split(['_', '-']).map(|word| {
        let mut characters = word.chars();
        let first = characters.next().map(|first| first.to_ascii_uppercase());
        let rest = characters.map(|character| character.to_ascii_lowercase());
        first.into_iter().chain(rest).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> Headers {
        let text = format!("origins = [\"https://prism.example.test\"]\n{text}");
        toml::from_str(&text).expect("a table")
    }

    fn told(headers: &Headers, environment: &[(&str, &str)]) -> Result<String, String> {
        let environment = environment.iter();
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let resolved = headers.resolved_in(environment);
        let resolved = resolved.map_err(|error| crate::error::chain(&error))?;
        let headers = resolved.headers.iter();
        let lines = headers.map(|(header, source)| format!("{header} from {source}"));
        Ok(lines
            .chain(resolved.warnings)
            .collect::<Vec<_>>()
            .join("\n"))
    }

    #[test]
    fn variables_with_the_prefix_become_headers() {
        let headers = headers("env_prefix = \"NUTANIX_HEADER_\"");
        let environment = [
            "NUTANIX_HEADER_CF_ACCESS_CLIENT_ID",
            "NUTANIX_HEADER_X_CUSTOM_HEADER",
            "NUTANIX_HEADER_X_2FA_TOKEN",
            "NUTANIX_HEADER_X_API_KEY_2",
            "NUTANIX_HEADER_x_mixed_Case",
            "NUTANIX_HEADER_X-DASH_ED",
            "NUTANIX_HEADER_DNT",
            "NUTANIX_HEADER_X.DOT",
            "NUTANIX_HEADER_X__DOUBLE",
            "NUTANIX_HEADER__LEAD",
            "NUTANIX_HEADER_AUTHORIZATION",
            // Not these.
            "nutanix_header_x",
            "NUTANIX_HEADERX",
            "HOME",
        ];

        let told = told(&headers, &environment.map(|name| (name, "value")));

        insta::assert_snapshot!(told.expect("headers"), @"
        -Lead from $NUTANIX_HEADER__LEAD
        Authorization from $NUTANIX_HEADER_AUTHORIZATION
        Cf-Access-Client-Id from $NUTANIX_HEADER_CF_ACCESS_CLIENT_ID
        Dnt from $NUTANIX_HEADER_DNT
        X--Double from $NUTANIX_HEADER_X__DOUBLE
        X-2fa-Token from $NUTANIX_HEADER_X_2FA_TOKEN
        X-Api-Key-2 from $NUTANIX_HEADER_X_API_KEY_2
        X-Custom-Header from $NUTANIX_HEADER_X_CUSTOM_HEADER
        X-Dash-Ed from $NUTANIX_HEADER_X-DASH_ED
        X-Mixed-Case from $NUTANIX_HEADER_x_mixed_Case
        X.dot from $NUTANIX_HEADER_X.DOT
        the environment variable NUTANIX_HEADER__LEAD is the header `-Lead`, with a hyphen at its end
        ");
    }

    #[test]
    fn the_file_wins_over_the_environment_and_that_is_told_without_values() {
        let headers =
            headers("env_prefix = \"P_\"\n[set]\nCF-Access-Client-Id = { file = \"client-id\" }\n");

        let told = told(
            &headers,
            &[("P_CF_ACCESS_CLIENT_ID", "hunter2"), ("P_X", "")],
        );

        insta::assert_snapshot!(told.expect("headers"), @"
        CF-Access-Client-Id from client-id
        the header `CF-Access-Client-Id` comes from client-id, and the environment variable P_CF_ACCESS_CLIENT_ID is not used
        ");
    }

    #[test]
    fn a_variable_that_stands_for_no_header_of_its_own_is_refused() {
        let headers = headers("env_prefix = \"P_\"");
        let refused =
            |environment: &[(&str, &str)]| told(&headers, environment).expect_err("refused");

        insta::assert_snapshot!(
            [
                refused(&[("P_", "hunter2")]),
                refused(&[("P_HOST", "hunter2")]),
                refused(&[("P_CONTENT_LENGTH", "hunter2")]),
                refused(&[("P_A B", "hunter2")]),
                refused(&[("P_X_A", "hunter2"), ("P_x_a", "hunter3")]),
            ]
            .join("\n"),
            @"
        the environment variable P_: `` is no header's name
        the environment variable P_HOST: the header `Host` is the gateway's or the plugin's to set
        the environment variable P_CONTENT_LENGTH: the header `Content-Length` is the gateway's or the plugin's to set
        the environment variable P_A B: `A b` is no header's name
        the environment variables P_X_A and P_x_a are both the header `X-A`, and differ
        "
        );
        assert_eq!(
            told(&headers, &[("P_X_A", "same"), ("P_x_a", "same")]).expect("one header"),
            "X-A from $P_x_a"
        );
    }

    #[test]
    fn a_prefix_that_finds_nothing_is_told() {
        let told = told(&headers("env_prefix = \"P_\""), &[]);
        assert_eq!(
            told.expect("no headers"),
            "no environment variable gives a header with the prefix P_"
        );
    }
}
