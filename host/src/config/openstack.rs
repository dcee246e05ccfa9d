//! `[openstack]`: where plugins' look-ups go, and how long what was found is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{Document, Fault};

/// `[openstack]`, or `[clouds.NAME.openstack]`. Account and `ca_file` are those of the cloud's `[keystone]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenStack {
    /// Whose endpoints are taken from the catalogue; needed where it has several regions.
    pub region: Option<String>,
    /// Which of a region's endpoints.
    pub interface: Interface,
    /// Endpoints in place of the catalogue's.
    pub endpoints: BTreeMap<Service, Endpoint>,
    /// How long one look-up may take at the services. The call's own deadline holds on top.
    pub timeout_ms: NonZeroU32,
    /// Look-ups that may be under way at once. Further ones wait, within that time.
    pub concurrent_lookups: NonZeroUsize,
    /// How long the catalogue is used before it is read again.
    pub catalogue_ms: NonZeroU32,
    /// Memory for what was found.
    pub cache_bytes: u64,
    /// How long "there is none" is believed without asking again.
    pub not_found_ms: u32,
    /// How long what was found is believed without asking again.
    pub(crate) keep_ms: ByKind,
    /// How long after that it may stand in while the service gives no answer.
    pub(crate) stale_ms: ByKind,
}

/// One kind of thing that can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookUp {
    /// A project of keystone.
    Project,
    /// A domain of keystone.
    Domain,
    /// An image of glance.
    Image,
    /// A server of nova.
    Server,
    /// A server's ports at neutron.
    Ports,
    /// A user's key pair at nova.
    Keypair,
}

/// Who answers, by its type in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// keystone
    Identity,
    /// glance
    Image,
    /// nova
    Compute,
    /// neutron
    Network,
}

/// One entry of a target's `openstack` list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LookUpGrant {
    /// What may be looked up.
    pub kind: LookUp,
    /// Not only what the request's own instance is or has.
    pub any: bool,
}

/// For whom an endpoint is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Everybody; the one that OpenStack's own clients take unless told otherwise.
    #[default]
    Public,
    /// The cloud's own services.
    Internal,
    /// The cloud's operators.
    Admin,
}

/// Where a service is, with its version or without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Url")]
pub struct Endpoint(Url);

/// A length of time for each kind; the kind's own default where there is none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ByKind {
    project: Option<u32>,
    domain: Option<u32>,
    image: Option<u32>,
    server: Option<u32>,
    ports: Option<u32>,
    keypair: Option<u32>,
}

impl Default for OpenStack {
    fn default() -> Self {
        Self {
            region: None,
            interface: Interface::default(),
            endpoints: BTreeMap::new(),
            timeout_ms: const { NonZeroU32::new(3_000).expect("not zero") },
            concurrent_lookups: const { NonZeroUsize::new(16).expect("not zero") },
            catalogue_ms: const { NonZeroU32::new(300_000).expect("not zero") },
            cache_bytes: 16 << 20,
            not_found_ms: 5_000,
            keep_ms: ByKind::default(),
            stale_ms: ByKind::default(),
        }
    }
}

impl OpenStack {
    /// How long what was found is believed. Names and images hardly ever change. Servers do, and the six requests for
    /// one config drive come within seconds.
    pub fn keep(&self, kind: LookUp) -> Duration {
        let usual = match kind {
            LookUp::Project | LookUp::Domain | LookUp::Image => 300_000,
            LookUp::Server | LookUp::Ports | LookUp::Keypair => 5_000,
        };
        Duration::from_millis(self.keep_ms.of(kind).unwrap_or(usual).into())
    }

    /// How long it may stand in after that. An old name is better than none; an old address or an old key is not.
    pub fn stale(&self, kind: LookUp) -> Duration {
        let usual = match kind {
            LookUp::Project | LookUp::Domain | LookUp::Image => 3_600_000,
            LookUp::Server | LookUp::Ports | LookUp::Keypair => 0,
        };
        Duration::from_millis(self.stale_ms.of(kind).unwrap_or(usual).into())
    }

    /// `at` is the table.
    pub(super) fn check(&self, at: &[&str], has_account: bool, document: &Document) -> Vec<Fault> {
        if has_account {
            return Vec::new();
        }
        let message = "look-ups are made with the gateway's own account: `auth_url`, `username` and `password` (or an \
                       application credential) of the `keystone` table beside this one";
        vec![document.fault(at, message)]
    }
}

impl ByKind {
    fn of(&self, kind: LookUp) -> Option<u32> {
        match kind {
            LookUp::Project => self.project,
            LookUp::Domain => self.domain,
            LookUp::Image => self.image,
            LookUp::Server => self.server,
            LookUp::Ports => self.ports,
            LookUp::Keypair => self.keypair,
        }
    }
}

impl LookUp {
    /// Each at the place that is its number.
    pub const ALL: [Self; 6] = [
        Self::Project,
        Self::Domain,
        Self::Image,
        Self::Server,
        Self::Ports,
        Self::Keypair,
    ];

    /// The word in the configuration, and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Domain => "domain",
            Self::Image => "image",
            Self::Server => "server",
            Self::Ports => "ports",
            Self::Keypair => "keypair",
        }
    }

    /// Who knows it.
    pub fn service(self) -> Service {
        match self {
            Self::Project | Self::Domain => Service::Identity,
            Self::Image => Service::Image,
            Self::Server | Self::Keypair => Service::Compute,
            Self::Ports => Service::Network,
        }
    }

    /// Whether a request says which one is its own. A domain stands in no request, and a key pair in none either: it
    /// belongs to a user.
    fn has_an_own(self) -> bool {
        !matches!(self, Self::Domain | Self::Keypair)
    }
}

impl Service {
    /// Its type in the catalogue.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Image => "image",
            Self::Compute => "compute",
            Self::Network => "network",
        }
    }
}

impl Interface {
    /// The word in the catalogue.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

impl Endpoint {
    /// The URL, without a slash at its end.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for LookUpGrant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any && self.kind.has_an_own() {
            formatter.write_str("any-")?;
        }
        formatter.write_str(self.kind.as_str())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl TryFrom<String> for LookUpGrant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (any, name) = match text.strip_prefix("any-") {
            Some(name) => (true, name),
            None => (false, &*text),
        };
        let kind = LookUp::ALL.into_iter().find(|kind| kind.as_str() == name);
        match kind {
            Some(kind) if kind.has_an_own() => Ok(Self { kind, any }),
            // There is no other way to grant it.
            Some(kind) if !any => Ok(Self { kind, any: true }),
            _ => Err(format!(
                "`{text}` cannot be looked up; known are `project`, `image`, `server` and `ports` of the request's own \
                 instance, `any-project`, `any-image`, `any-server` and `any-ports`, `domain` and `keypair`"
            )),
        }
    }
}

impl TryFrom<Url> for Endpoint {
    type Error = String;

    fn try_from(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err("an endpoint starts with https:// or http://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an endpoint holds no user name or password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("an endpoint ends with its path".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Result<LookUpGrant, String> {
        LookUpGrant::try_from(text.to_owned())
    }

    #[test]
    fn a_grant_is_of_the_requests_own_unless_it_says_otherwise() {
        let (kind, any) = (LookUp::Server, false);
        assert_eq!(grant("server"), Ok(LookUpGrant { kind, any }));
        let any = true;
        assert_eq!(grant("any-server"), Ok(LookUpGrant { kind, any }));
        let kind = LookUp::Domain;
        assert_eq!(grant("domain"), Ok(LookUpGrant { kind, any }));

        for text in ["any-project", "ports", "keypair", "domain"] {
            assert_eq!(grant(text).expect("a grant").to_string(), text);
        }
        for text in [
            "servers",
            "any-domain",
            "any-any-server",
            "Server",
            "any-",
            "",
        ] {
            assert!(grant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_kind_stands_at_its_own_place() {
        for (index, kind) in LookUp::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
