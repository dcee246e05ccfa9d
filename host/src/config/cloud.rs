//! `[clouds.NAME]`: a cloud with a keystone of its own.

use std::path::Path;

use serde::Deserialize;

use super::{
    Auth, CloudName, Document, Fault, Keystone, Listener, OpenStack, Policy, Proof, Server,
};

/// One cloud. Its callers, its policy, its caches and what its plugins keep are its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// How its callers prove who they are.
    #[serde(default)]
    pub auth: Auth,
    /// The keystone that knows its nova's tokens.
    pub keystone: Option<Keystone>,
    /// Where its plugins' look-ups go, where that is not as usual.
    pub openstack: Option<OpenStack>,
}

impl Cloud {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        if let Some(keystone) = &mut self.keystone {
            keystone.resolve_paths(directory);
        }
    }

    /// Whether the gateway can ask this cloud's services for what plugins look up.
    pub fn has_account(&self) -> bool {
        let keystone = self.keystone.as_ref();
        keystone.is_some_and(|keystone| keystone.auth_url.is_some() && keystone.account().is_some())
    }

    /// Whose tokens are good where a target says nothing else; without keystone there is nothing to say.
    pub fn policy(&self) -> Policy {
        let keystone = self.validator();
        keystone.map_or_else(Policy::default, Keystone::policy)
    }

    /// The keystone whose tokens the callers show. One that is there for look-ups only is none.
    pub fn validator(&self) -> Option<&Keystone> {
        let keystone = self.keystone.as_ref();
        keystone.filter(|_keystone| self.auth.require.has(Proof::Keystone))
    }

    pub(super) fn check(
        &self,
        name: &CloudName,
        server: &Server,
        document: &Document,
    ) -> Vec<Fault> {
        let table = name.table();
        let at = |key: &'static str| [&table[..], &[key]].concat();
        let mut faults = self.auth.check(&at("auth"), document);
        let require = &self.auth.require;
        match &self.keystone {
            None if require.has(Proof::Keystone) => {
                let key = at("keystone").join(".");
                faults.push(Fault::whole(format!(
                    "there is no [{key}] table, and without it nobody can be let in; to serve without authentication, \
                     write `require = \"none\"` under [{}]",
                    at("auth").join(".")
                )));
            }
            Some(_) if !require.has(Proof::Keystone) && self.openstack.is_none() => {
                let message = "not asked for: add \"keystone\" to `require` of the `auth` table, or an `openstack` table for \
                               look-ups, or take this away";
                faults.push(document.fault(&at("keystone"), message));
            }
            Some(keystone) => {
                let at_keystone = at("keystone");
                faults.extend(keystone.check(&at_keystone, document));
                let at_accept = [&at_keystone[..], &["accept"]].concat();
                let offline = keystone.is_offline();
                faults.extend(keystone.accept.check(&at_accept, offline, document));
            }
            None => {}
        }
        if let Some(openstack) = &self.openstack {
            faults.extend(openstack.check(&at("openstack"), self.has_account(), document));
        }
        let has_authority = server
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca_file.is_some());
        if require.has(Proof::ClientCertificate) && !has_authority {
            let message = "a client certificate is checked by TLS: name the authority, `client_ca_file` under [server.tls]";
            faults.push(document.fault(&[&at("auth")[..], &["require"]].concat(), message));
        }
        if require.has(Proof::None) && !self.auth.anyone_who_reaches_the_port_may_ask {
            let open = server.listen.iter().filter(|listener| !listener.is_local());
            faults.extend(open.map(|listener| not_local(listener, &table, document)));
        }
        faults
    }
}

fn not_local(listener: &Listener, table: &[&str], document: &Document) -> Fault {
    let auth = [table, &["auth"]].concat().join(".");
    document.fault(
        &["server", "listen"],
        format!(
            "{listener} can be reached from other machines, and [{auth}] has `require = \"none\"`: whoever connects could \
             ask for any instance's secrets. Listen on 127.0.0.1 or [::1] or a Unix socket, require a proof, or write \
             `anyone_who_reaches_the_port_may_ask = true` under [{auth}]"
        ),
    )
}
