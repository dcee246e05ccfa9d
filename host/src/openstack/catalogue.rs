//! Where the services are, as keystone's catalogue has it.
//!
//! What operators write there differs: with the API's version or without, nova's with the project behind it, below a path of
//! its own or on a port. What is kept is the URL that resources are below.

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use crate::config::{Endpoint, OpenStack, Service};

/// The services of one cloud that look-ups go to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Catalogue(Vec<Entry>);

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Listed>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Listed {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

/// Why the catalogue does not say where a service is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cloud has no such service.
    #[error("it lists no service of type `{0}`")]
    NoService(&'static str),
    /// The service is somewhere else.
    #[error("it lists no {interface} endpoint for `{service}`{in_region}; there are: {listed}")]
    NoEndpoint {
        /// The service's type.
        service: &'static str,
        /// The wanted interface.
        interface: &'static str,
        /// The wanted region, if one is.
        in_region: String,
        /// What there is.
        listed: String,
    },
    /// The operator has to choose.
    #[error(
        "it lists `{service}` in several regions ({regions}); `region` under [openstack] says which is meant"
    )]
    SeveralRegions {
        /// The service's type.
        service: &'static str,
        /// Their names.
        regions: String,
    },
    /// Nothing that could be called.
    #[error("its endpoint for `{0}` is no URL of an endpoint")]
    Url(&'static str),
}

impl Catalogue {
    /// Reads keystone's answer.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            catalog: Vec<Entry>,
        }

        let Envelope { mut catalog } = serde_json::from_slice(body)?;
        let ours = [Service::Image, Service::Compute, Service::Network];
        catalog.retain(|entry| ours.iter().any(|service| service.as_str() == entry.kind));
        Ok(Self(catalog))
    }

    /// Where a service's resources are.
    pub(super) fn find(&self, service: Service, config: &OpenStack) -> Result<Url, Error> {
        let name = service.as_str();
        let mut entries = self.0.iter().filter(|entry| entry.kind == name).peekable();
        if entries.peek().is_none() {
            return Err(Error::NoService(name));
        }
        let all: Vec<&Listed> = entries.flat_map(|entry| &entry.endpoints).collect();
        let interface = config.interface.as_str();
        let wanted = |listed: &&&Listed| {
            listed.interface == interface
                && config.region.as_ref().is_none_or(|region| {
                    [&listed.region_id, &listed.region].contains(&&Some(region.clone()))
                })
        };
        let found: Vec<&&Listed> = all.iter().filter(wanted).collect();
        let Some(first) = found.first() else {
            let listed = all.iter().map(|listed| listed.to_string());
            let listed: BTreeSet<String> = listed.collect();
            return Err(Error::NoEndpoint {
                service: name,
                interface,
                in_region: config
                    .region
                    .as_ref()
                    .map_or_else(String::new, |region| format!(" in region {region}")),
                listed: listed.into_iter().collect::<Vec<_>>().join(", "),
            });
        };
        let regions: BTreeSet<&str> = found.iter().map(|listed| listed.region()).collect();
        if regions.len() > 1 {
            return Err(Error::SeveralRegions {
                service: name,
                regions: regions.into_iter().collect::<Vec<_>>().join(", "),
            });
        }
        let url = Url::parse(&first.url).map_err(|_no_url| Error::Url(name))?;
        let endpoint = Endpoint::try_from(url).map_err(|_no_endpoint| Error::Url(name))?;
        Ok(versioned(service, &endpoint))
    }
}

impl Listed {
    fn region(&self) -> &str {
        let region = self.region_id.as_deref().or(self.region.as_deref());
        region.unwrap_or_default()
    }
}

impl std::fmt::Display for Listed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} in {}", self.interface, self.region())
    }
}

/// The endpoint of the version that is spoken here.
pub(super) fn versioned(service: Service, endpoint: &Endpoint) -> Url {
    let mut url = endpoint.url().clone();
    let path = url.path().trim_end_matches('/').to_owned();
    let version = match service {
        Service::Identity => "v3",
        Service::Image => "v2",
        Service::Compute => "v2.1",
        Service::Network => "v2.0",
    };
    let (base, last) = path.rsplit_once('/').unwrap_or(("", ""));
    let path = if is_version(last) {
        format!("{base}/{version}")
    } else {
        match base.rsplit_once('/') {
            // nova's, with the project behind the version.
            Some((base, before)) if is_version(before) => format!("{base}/{version}/{last}"),
            _ => format!("{path}/{version}"),
        }
    };
    url.set_path(&path);
    url
}

/// `v2`, `v2.1`
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        number.starts_with(|first: char| first.is_ascii_digit())
            && number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Interface;

    fn catalogue(entries: Value) -> Catalogue {
        Catalogue::read(
            json!({ "catalog": entries, "links": {} })
                .to_string()
                .as_bytes(),
        )
        .expect("a catalogue")
    }

    fn listed(interface: &str, region: &str, url: &str) -> Value {
        json!({"id": "e1", "interface": interface, "region": region, "region_id": region, "url": url})
    }

    fn compute(endpoints: &[Value]) -> Catalogue {
        catalogue(json!([
            {"type": "identity", "name": "keystone", "id": "s1", "endpoints": []},
            {"type": "compute", "name": "nova", "id": "s2", "endpoints": endpoints},
        ]))
    }

    fn config(region: Option<&str>, interface: Interface) -> OpenStack {
        OpenStack {
            region: region.map(str::to_owned),
            interface,
            ..OpenStack::default()
        }
    }

    #[test]
    fn an_endpoint_is_understood_in_all_ways_that_catalogues_have_it() {
        let project = "039d104b7a5c4631b4ba6524d0b9e981";
        for (service, written, meant) in [
            (Service::Compute, "http://c:8774/v2.1", "http://c:8774/v2.1"),
            (
                Service::Compute,
                "http://c:8774/v2.1/",
                "http://c:8774/v2.1",
            ),
            (Service::Compute, "http://c:8774", "http://c:8774/v2.1"),
            (
                Service::Compute,
                "http://c/compute/v2.1",
                "http://c/compute/v2.1",
            ),
            (
                Service::Compute,
                "http://c/compute",
                "http://c/compute/v2.1",
            ),
            (
                Service::Compute,
                "http://c:8774/v2.1/PROJECT",
                "http://c:8774/v2.1/PROJECT",
            ),
            (
                Service::Compute,
                "http://c:8774/v2/PROJECT/",
                "http://c:8774/v2.1/PROJECT",
            ),
            (
                Service::Compute,
                "http://c/compute/v2/PROJECT",
                "http://c/compute/v2.1/PROJECT",
            ),
            (Service::Image, "http://c:9292", "http://c:9292/v2"),
            (Service::Image, "http://c:9292/v2", "http://c:9292/v2"),
            (Service::Image, "http://c/image", "http://c/image/v2"),
            (Service::Image, "http://c/image/v1/", "http://c/image/v2"),
            (Service::Network, "http://c:9696/", "http://c:9696/v2.0"),
            (Service::Network, "http://c:9696/v2.0", "http://c:9696/v2.0"),
            (
                Service::Network,
                "http://c/networking",
                "http://c/networking/v2.0",
            ),
            (
                Service::Identity,
                "https://c/identity/v3",
                "https://c/identity/v3",
            ),
            (Service::Identity, "https://c/vault", "https://c/vault/v3"),
        ] {
            let url = Url::parse(&written.replace("PROJECT", project)).expect("a URL");
            let endpoint = Endpoint::try_from(url).expect("an endpoint");
            let meant = meant.replace("PROJECT", project);
            assert_eq!(versioned(service, &endpoint).as_str(), meant, "{written}");
        }
    }

    #[test]
    fn interface_and_region_choose_the_endpoint() {
        let catalogue = compute(&[
            listed("public", "east", "https://east.example.test/v2.1"),
            listed("internal", "east", "http://east.internal/v2.1"),
            listed("public", "west", "https://west.example.test/v2.1"),
        ]);
        let find = |region, interface| {
            let found = catalogue.find(Service::Compute, &config(region, interface));
            found.map_or_else(|error| error.to_string(), String::from)
        };

        insta::assert_snapshot!(
            [
                find(Some("west"), Interface::Public),
                find(Some("east"), Interface::Internal),
                find(None, Interface::Internal),
                find(None, Interface::Public),
                find(Some("west"), Interface::Internal),
                find(None, Interface::Admin),
            ]
            .join("\n"),
            @r"
        https://west.example.test/v2.1
        http://east.internal/v2.1
        http://east.internal/v2.1
        it lists `compute` in several regions (east, west); `region` under [openstack] says which is meant
        it lists no internal endpoint for `compute` in region west; there are: internal in east, public in east, public in west
        it lists no admin endpoint for `compute`; there are: internal in east, public in east, public in west
        "
        );
        assert_eq!(
            catalogue.find(Service::Image, &OpenStack::default()),
            Err(Error::NoService("image"))
        );
    }

    #[test]
    fn a_catalogue_may_lack_what_it_likes_and_an_endpoint_must_be_a_url() {
        assert!(Catalogue::read(b"{}").is_err());
        assert!(Catalogue::read(b"<html>").is_err());
        let bare = json!({"interface": "public", "url": "http://c:8774/v2.1"});
        let url = compute(&[bare]).find(Service::Compute, &OpenStack::default());
        assert_eq!(url.expect("an endpoint").as_str(), "http://c:8774/v2.1");

        for url in ["", "/v2.1", "ftp://c/v2.1", "http://user:password@c/v2.1"] {
            let catalogue = compute(&[listed("public", "east", url)]);
            assert_eq!(
                catalogue.find(Service::Compute, &OpenStack::default()),
                Err(Error::Url("compute")),
                "{url}"
            );
        }
    }
}
