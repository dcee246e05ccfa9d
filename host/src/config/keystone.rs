//! `[keystone]`: who validates nova's tokens, as whom we ask, and what can be known without asking.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::{Document, Fault, Policy, SecretSource};

/// keystonemiddleware's own default is as long.
const MOST_TOKEN_CACHE_MS: u32 = 300_000;

/// The keystone of one cloud.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keystone {
    /// The identity endpoint, with or without `/v3`.
    pub auth_url: Option<AuthUrl>,
    /// Certificates of the authority that signed keystone's; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// The gateway's own account. It needs a role that may validate tokens: `service` or `admin`.
    pub username: Option<String>,
    /// The account's password.
    pub password: Option<SecretSource>,
    /// The project the account is scoped to.
    #[serde(default = "service")]
    pub project_name: String,
    /// The account's domain, by name.
    #[serde(default = "default_domain")]
    pub user_domain_name: String,
    /// The project's domain, by name.
    #[serde(default = "default_domain")]
    pub project_domain_name: String,
    /// An application credential in place of user name and password, by id.
    pub application_credential_id: Option<String>,
    /// The same by name, which is unique for one `username` only.
    pub application_credential_name: Option<String>,
    /// The application credential's secret.
    pub application_credential_secret: Option<SecretSource>,
    /// How long one request to keystone may take. A call's own deadline holds on top.
    #[serde(default = "three_seconds")]
    pub timeout_ms: NonZeroU32,
    /// How long a validated token is believed without asking again, never beyond its expiry; at most five minutes.
    #[serde(default = "five_minutes")]
    pub token_cache_ms: u32,
    /// How long a refusal is believed without asking again.
    #[serde(default = "five_seconds")]
    pub rejected_cache_ms: u32,
    /// How long after that time, and not beyond its expiry, a token that was validated stays good while keystone
    /// gives no answer.
    #[serde(default = "five_minutes")]
    pub grace_ms: u32,
    /// Validations that may be under way at once. Further ones wait, within their deadline; tokens that were good before
    /// go first.
    #[serde(default = "sixteen")]
    pub concurrent_validations: NonZeroU32,
    /// Tokens checked by keystone's public keys, where its provider is JWS.
    pub jws: Option<Jws>,
    /// Whose tokens are good.
    #[serde(default)]
    pub accept: Policy,
}

/// `[keystone.jws]`: what can be known of a token without asking.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jws {
    /// What the signature is worth.
    pub mode: JwsMode,
    /// The directory of keystone's public keys, `jws_public_key_repository` there. It is read again when it changes.
    pub public_keys: PathBuf,
    /// Algorithms that are accepted, keystone's `jws_accepted_algorithms`.
    #[serde(default = "es256")]
    pub algorithms: Vec<JwsAlgorithm>,
}

/// What is done with a token whose signature is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JwsMode {
    /// Keystone is asked about it, for roles and revocation. One that is not good is refused without asking.
    Filter,
    /// It is believed. A revoked token stays good until it expires, and nobody's roles are known.
    Only,
}

/// An algorithm of a signature. Keystone has ES512 as well; the library that checks has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum JwsAlgorithm {
    /// ECDSA over P-256 with SHA-256, keystone's default.
    ES256,
    /// ECDSA over P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// How the gateway itself logs in.
#[derive(Debug, Clone)]
pub enum Account {
    /// As a user of keystone.
    Password {
        /// The user's name.
        username: String,
        /// The user's domain, by name.
        user_domain_name: String,
        /// Where its password is.
        password: SecretSource,
        /// The project to be scoped to, by name.
        project_name: String,
        /// The project's domain, by name.
        project_domain_name: String,
    },
    /// By an application credential, which has its project with it.
    ApplicationCredential {
        /// The credential.
        identity: ApplicationCredential,
        /// Where its secret is.
        secret: SecretSource,
    },
}

/// Which application credential.
#[derive(Debug, Clone)]
pub enum ApplicationCredential {
    /// By id.
    Id(String),
    /// By name, which is unique for its user only.
    Name {
        /// The credential's name.
        name: String,
        /// Its user's name.
        username: String,
        /// The user's domain, by name.
        user_domain_name: String,
    },
}

/// An identity endpoint, ending in `/v3/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Url")]
pub struct AuthUrl(Url);

impl Keystone {
    /// What will work and is likely not meant.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let secrets = [&self.password, &self.application_credential_secret];
        let secrets = secrets.into_iter().flatten();
        secrets.filter_map(SecretSource::warning)
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for secret in [&mut self.password, &mut self.application_credential_secret]
            .into_iter()
            .flatten()
        {
            secret.resolve_path(directory);
        }
        if let Some(ca_file) = &mut self.ca_file {
            *ca_file = directory.join(&*ca_file);
        }
        if let Some(jws) = &mut self.jws {
            jws.public_keys = directory.join(&jws.public_keys);
        }
    }

    /// Whether keystone is never asked about a token.
    pub fn is_offline(&self) -> bool {
        self.jws
            .as_ref()
            .is_some_and(|jws| jws.mode == JwsMode::Only)
    }

    /// Whose tokens are good where a target says nothing else.
    pub fn policy(&self) -> Policy {
        if self.is_offline() {
            self.accept.clone()
        } else {
            self.accept.or(&Policy::of_services())
        }
    }

    /// How the gateway itself logs in; none where the keys do not say, or say two things.
    pub fn account(&self) -> Option<Account> {
        let secret = self.application_credential_secret.clone();
        match (&self.username, &self.password, secret) {
            (Some(username), Some(password), None) => Some(Account::Password {
                username: username.clone(),
                user_domain_name: self.user_domain_name.clone(),
                password: password.clone(),
                project_name: self.project_name.clone(),
                project_domain_name: self.project_domain_name.clone(),
            }),
            (username, None, Some(secret)) => {
                let by_id = self.application_credential_id.clone();
                let by_name = self.application_credential_name.clone();
                let identity = match (by_id, by_name, username) {
                    (Some(id), None, None) => ApplicationCredential::Id(id),
                    (None, Some(name), Some(username)) => ApplicationCredential::Name {
                        name,
                        username: username.clone(),
                        user_domain_name: self.user_domain_name.clone(),
                    },
                    _ => return None,
                };
                Some(Account::ApplicationCredential { identity, secret })
            }
            _ => None,
        }
    }

    /// What concerns several of the keys; `at` is the table.
    pub(super) fn check(&self, at: &[&str], document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| {
            faults.push(document.fault(&[at, &[key]].concat(), message));
        };
        if !self.is_offline() {
            if self.auth_url.is_none() {
                fault(
                    "auth_url",
                    "the key `auth_url` is missing: where keystone is",
                );
            }
            let credential_without_secret = self.application_credential_secret.is_none()
                && (self.application_credential_id.is_some()
                    || self.application_credential_name.is_some());
            if self.account().is_none() || credential_without_secret {
                fault(
                    "username",
                    "the gateway needs an account of its own, which validates the tokens: `username` and `password`, \
                     or `application_credential_id` and `application_credential_secret`, or \
                     `application_credential_name`, `application_credential_secret` and `username`",
                );
            }
        }
        if self.is_offline() && self.accept.projects.is_none() && self.accept.users.is_none() {
            fault(
                "accept",
                "with mode = \"only\" everyone in this keystone would be let in: list `users`, or `projects`, by id",
            );
        }
        if self.token_cache_ms > MOST_TOKEN_CACHE_MS {
            fault(
                "token_cache_ms",
                "a revoked token would stay good for more than five minutes: at most 300000",
            );
        }
        if let Some(jws) = &self.jws
            && jws.algorithms.is_empty()
        {
            fault(
                "jws",
                "`algorithms` is empty, so that no token would be good",
            );
        }
        faults
    }
}

impl AuthUrl {
    /// The URL that all resources are below, without a slash at its end.
    pub fn base(&self) -> Url {
        let mut url = self.0.clone();
        url.set_path(self.0.path().trim_end_matches('/'));
        url
    }

    /// The URL of a resource below `/v3/`, by a path that is fixed.
    pub fn at(&self, path: &'static str) -> Url {
        // The base ends in a slash, so that this cannot fail.
        self.0.join(path).unwrap_or_else(|_never| self.0.clone())
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

fn five_seconds() -> u32 {
    5_000
}

fn sixteen() -> NonZeroU32 {
    const { NonZeroU32::new(16).expect("not zero") }
}

fn es256() -> Vec<JwsAlgorithm> {
    vec![JwsAlgorithm::ES256]
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
                url.at("auth/tokens").as_str(),
                "https://k.example.test:5000/v3/auth/tokens"
            );
        }
        let below = Url::parse("http://k.example.test/identity").expect("a URL");
        let below = AuthUrl::try_from(below).expect("an endpoint");
        assert_eq!(below.to_string(), "http://k.example.test/identity/v3");
    }
}
