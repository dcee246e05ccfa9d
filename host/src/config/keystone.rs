//! `[keystone]`: who validates nova's tokens, as whom we ask, and whose tokens are good.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::SecretSource;

/// The keystone of this cloud.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keystone {
    /// The identity endpoint, with or without `/v3`.
    pub auth_url: AuthUrl,
    /// Certificates of the authority that signed keystone's; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// The gateway's own account. It needs a role that may validate tokens: `service` or `admin`.
    pub username: String,
    /// The account's password.
    pub password: SecretSource,
    /// The project the account is scoped to.
    #[serde(default = "service")]
    pub project_name: String,
    /// The account's domain, by name.
    #[serde(default = "default_domain")]
    pub user_domain_name: String,
    /// The project's domain, by name.
    #[serde(default = "default_domain")]
    pub project_domain_name: String,
    /// How long one request to keystone may take. A call's own deadline holds on top.
    #[serde(default = "three_seconds")]
    pub timeout_ms: NonZeroU32,
    /// How long a validated token is believed without asking again, never beyond its expiry.
    #[serde(default = "five_minutes")]
    pub token_cache_ms: u32,
    /// Whose tokens are good.
    #[serde(default)]
    pub accept: Policy,
}

/// `[keystone.accept]`: a token passes with any of the roles *and* any of the projects. A role's name alone proves
/// nothing: whoever is admin of any project holds it too.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Names of roles, one of which the token must hold.
    pub roles: Vec<String>,
    /// Projects, one of which the token must be scoped to.
    pub projects: Vec<Project>,
}

/// A project, by id or by name and domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, try_from = "ProjectKeys")]
pub enum Project {
    /// By id.
    Id(String),
    /// By name, which is unique in a domain only.
    Name {
        /// The project's name.
        name: String,
        /// Its domain, by name or id.
        domain: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectKeys {
    id: Option<String>,
    name: Option<String>,
    domain: Option<String>,
}

/// An identity endpoint, ending in `/v3/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Url")]
pub struct AuthUrl(Url);

impl Keystone {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.password.resolve_path(directory);
        if let Some(ca_file) = &mut self.ca_file {
            *ca_file = directory.join(&*ca_file);
        }
    }
}

impl AuthUrl {
    /// The URL of the tokens resource.
    pub fn tokens(&self) -> Url {
        // The base ends in a slash and the addition is fixed, so that this cannot fail.
        self.0
            .join("auth/tokens")
            .unwrap_or_else(|_never| self.0.clone())
    }
}

impl std::fmt::Display for AuthUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<Url> for AuthUrl {
    type Error = String;

    fn try_from(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err("an identity endpoint starts with https:// or http://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an identity endpoint holds no user name or password".to_owned());
        }
        let path = url.path().trim_end_matches('/');
        let path = match path.strip_suffix("/v3") {
            Some(base) => format!("{base}/v3/"),
            None => format!("{path}/v3/"),
        };
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl TryFrom<ProjectKeys> for Project {
    type Error = &'static str;

    fn try_from(keys: ProjectKeys) -> Result<Self, &'static str> {
        match (keys.id, keys.name, keys.domain) {
            (Some(id), None, None) => Ok(Self::Id(id)),
            (None, Some(name), domain) => Ok(Self::Name {
                name,
                domain: domain.unwrap_or_else(default_domain),
            }),
            _ => Err("a project is `{ id = \"...\" }` or `{ name = \"...\", domain = \"...\" }`"),
        }
    }
}

impl std::fmt::Display for Project {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "project {id}"),
            Self::Name { name, domain } => write!(formatter, "project {name} of domain {domain}"),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            roles: vec![service()],
            projects: vec![Project::Name {
                name: service(),
                domain: default_domain(),
            }],
        }
    }
}

fn service() -> String {
    "service".to_owned()
}

fn default_domain() -> String {
    "Default".to_owned()
}

fn three_seconds() -> NonZeroU32 {
    const { NonZeroU32::new(3_000).expect("not zero") }
}

fn five_minutes() -> u32 {
    300_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_part_of_an_endpoint_whether_written_or_not() {
        for written in [
            "https://k.example.test:5000",
            "https://k.example.test:5000/",
            "https://k.example.test:5000/v3",
            "https://k.example.test:5000/v3/",
        ] {
            let url = AuthUrl::try_from(Url::parse(written).expect("a URL")).expect("an endpoint");
            assert_eq!(
                url.tokens().as_str(),
                "https://k.example.test:5000/v3/auth/tokens"
            );
        }
        let below = Url::parse("http://k.example.test/identity").expect("a URL");
        let below = AuthUrl::try_from(below).expect("an endpoint");
        assert_eq!(below.to_string(), "http://k.example.test/identity/v3");
    }
}
