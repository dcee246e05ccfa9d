//! What is stored: hosts and services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::REALM;

/// A host entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The one-time password that waits to be used.
    pub otp: Option<String>,
    /// Whether the host has fetched a keytab.
    pub has_keytab: bool,
    /// What clients set, by attribute: `description`, `userclass`, `nshostlocation` and so on.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Host {
    /// An enrolled host, with this description if any.
    pub fn enrolled(description: Option<&str>) -> Self {
        Self {
            has_keytab: true,
            ..Self::with_description(description)
        }
    }

    /// A host that waits to be enrolled with this password.
    pub fn waiting(otp: &str, description: Option<&str>) -> Self {
        Self {
            otp: Some(otp.to_owned()),
            ..Self::with_description(description)
        }
    }

    fn with_description(description: Option<&str>) -> Self {
        let description = description.map(|text| ("description".to_owned(), vec![text.to_owned()]));
        Self {
            attributes: description.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The first value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        Some(self.attributes.get(name)?.first()?.as_str())
    }
}

#[derive(Default)]
pub(super) struct Directory {
    hosts: BTreeMap<String, Host>,
    /// Managing hosts by principal, which is without the realm here.
    services: BTreeMap<String, BTreeSet<String>>,
}

impl Directory {
    pub(super) fn host(&self, fqdn: &str) -> Option<&Host> {
        self.hosts.get(fqdn)
    }

    pub(super) fn host_mut(&mut self, fqdn: &str) -> Option<&mut Host> {
        self.hosts.get_mut(fqdn)
    }

    pub(super) fn put_host(&mut self, fqdn: &str, host: Host) {
        self.hosts.insert(fqdn.to_owned(), host);
    }

    /// With its services. False when there is no such host.
    pub(super) fn delete_host(&mut self, fqdn: &str) -> bool {
        let on_the_host = format!("/{fqdn}");
        self.services
            .retain(|principal, _| !principal.ends_with(&on_the_host));
        for managers in self.services.values_mut() {
            managers.remove(fqdn);
        }
        self.hosts.remove(fqdn).is_some()
    }

    /// The first keytab uses up the password.
    pub(super) fn enroll(&mut self, fqdn: &str, otp: &str) -> bool {
        let Some(host) = self.hosts.get_mut(fqdn) else {
            return false;
        };
        if host.otp.as_deref() != Some(otp) {
            return false;
        }
        host.otp = None;
        host.has_keytab = true;
        true
    }

    pub(super) fn service(&self, principal: &str) -> Option<Vec<String>> {
        let managers = self.services.get(principal)?;
        Some(managers.iter().cloned().collect())
    }

    /// A new service is managed by its own host. False when it is there already.
    pub(super) fn add_service(&mut self, principal: &str, host: &str) -> bool {
        if self.services.contains_key(principal) {
            return false;
        }
        let managers = BTreeSet::from([host.to_owned()]);
        self.services.insert(principal.to_owned(), managers);
        true
    }

    /// False when the host manages it already.
    pub(super) fn add_manager(&mut self, principal: &str, host: &str) -> bool {
        let managers = self.services.get_mut(principal);
        managers.is_some_and(|managers| managers.insert(host.to_owned()))
    }

    /// A host as commands answer it.
    pub(super) fn show_host(&self, fqdn: &str) -> Map<String, Value> {
        let mut entry = Map::new();
        let Some(host) = self.hosts.get(fqdn) else {
            return entry;
        };
        for (name, values) in &host.attributes {
            entry.insert(name.clone(), json!(values));
        }
        entry.insert("dn".to_owned(), json!(host_dn(fqdn)));
        entry.insert("fqdn".to_owned(), json!([fqdn]));
        entry.insert("managedby_host".to_owned(), json!([fqdn]));
        entry.insert("has_password".to_owned(), json!(host.otp.is_some()));
        // With a password pending there may be an old key, but no keytab that anybody fetched.
        let has_keytab = host.has_keytab && host.otp.is_none();
        entry.insert("has_keytab".to_owned(), json!(has_keytab));
        // A host with a password gets its principal when it enrols.
        if host.otp.is_none() {
            let principal = format!("host/{fqdn}@{REALM}");
            entry.insert("krbprincipalname".to_owned(), json!([principal]));
            entry.insert("krbcanonicalname".to_owned(), json!([principal]));
        }
        entry
    }

    /// A service as commands answer it.
    pub(super) fn show_service(&self, principal: &str) -> Map<String, Value> {
        let mut entry = Map::new();
        let full = format!("{principal}@{REALM}");
        let dn = format!("krbprincipalname={full},cn=services,cn=accounts,{SUFFIX}");
        entry.insert("dn".to_owned(), json!(dn));
        entry.insert("krbprincipalname".to_owned(), json!([full]));
        entry.insert("krbcanonicalname".to_owned(), json!([full]));
        entry.insert("managedby_host".to_owned(), json!(self.service(principal)));
        entry
    }
}

const SUFFIX: &str = "dc=example,dc=test";

fn host_dn(fqdn: &str) -> String {
    format!("fqdn={fqdn},cn=computers,cn=accounts,{SUFFIX}")
}
