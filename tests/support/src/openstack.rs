//! Small strict glance, nova and neutron: one image, server, key pair or list of ports by id, for whoever may see it.
//!
//! Tokens are those of the stand-in keystone, and so are the roles: whoever is not an admin sees what belongs to his
//! project, and is told that the rest is not there (glance, nova), is given the rest of the list (neutron), or is forbidden
//! (another user's key pair). nova knows its microversions: what came later is not in an older answer.
//!
//! They know less than the real ones in this: nothing can be made or listed through their APIs, images are not shared, and
//! no policy is configurable.

mod http;

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::server::Server;
use crate::{Faults, Keystone};

/// The three, in region `RegionOne` of a keystone's catalogue.
pub struct OpenStack {
    /// Images.
    pub glance: Service,
    /// Servers and key pairs.
    pub nova: Service,
    /// Ports.
    pub neutron: Service,
    things: Arc<Mutex<Things>>,
}

/// One of them.
pub struct Service {
    server: Server,
    faults: Arc<Faults>,
    asked: Arc<Mutex<Vec<String>>>,
    path: &'static str,
}

#[derive(Default)]
struct Things {
    images: Vec<Value>,
    servers: Vec<Value>,
    ports: Vec<Value>,
    keypairs: Vec<Value>,
}

impl OpenStack {
    /// Starts them, with nothing in them, and puts them into the catalogue.
    pub async fn start(keystone: &Keystone) -> Self {
        let things = Arc::new(Mutex::new(Things::default()));
        let start = |path: &'static str, routes: http::Routes| {
            let faults = Arc::new(Faults::default());
            let asked = Arc::new(Mutex::new(Vec::new()));
            let state = http::Shared {
                keystone: keystone.shared(),
                things: Arc::clone(&things),
            };
            let router = http::router(routes, state, Arc::clone(&faults), Arc::clone(&asked));
            Service {
                server: Server::start(router, None),
                faults,
                asked,
                path,
            }
        };
        let openstack = Self {
            // As operators write them: with the version or without.
            glance: start("", http::glance),
            nova: start("/v2.1", http::nova),
            neutron: start("/networking", http::neutron),
            things: Arc::clone(&things),
        };
        for (service_type, service) in [
            ("image", &openstack.glance),
            ("compute", &openstack.nova),
            ("network", &openstack.neutron),
        ] {
            keystone.list(service_type, "RegionOne", &service.url());
        }
        openstack
    }

    /// Adds an image of this project, which only it and admins see, with these members more.
    pub fn add_image(&self, id: &str, project_id: &str, more: Value) {
        let image = json!({
            "id": id,
            "name": "debian-13",
            "status": "active",
            "visibility": "private",
            "owner": project_id,
            "container_format": "bare",
            "disk_format": "qcow2",
            "min_disk": 0,
            "min_ram": 0,
            "size": 3_221_225_472_u64,
            "checksum": "ad2b2d4f2e9d0dd1b1e3d0e0f0bb7a9c",
            "protected": false,
            "tags": [],
            "created_at": "2026-01-05T10:00:00Z",
            "updated_at": "2026-01-05T10:00:00Z",
            "self": format!("/v2/images/{id}"),
            "file": format!("/v2/images/{id}/file"),
            "schema": "/v2/schemas/image",
        });
        self.things().images.push(joined(image, more));
    }

    /// Adds a server of this project, with these members more.
    pub fn add_server(&self, id: &str, project_id: &str, more: Value) {
        let server = json!({
            "id": id,
            "name": "web",
            "status": "ACTIVE",
            "tenant_id": project_id,
            "user_id": "b8f1c2d3e4f5",
            "key_name": null,
            "metadata": {},
            "image": {"id": "70a599e0-31e7-49b7-b260-868f441e862b", "links": []},
            "flavor": {"vcpus": 2, "ram": 2048, "disk": 20, "original_name": "m1.small", "extra_specs": {}},
            "addresses": {},
            "config_drive": "True",
            "created": "2026-01-05T10:00:00Z",
            "OS-EXT-SRV-ATTR:user_data": "I2Nsb3VkLWNvbmZpZwo=",
        });
        self.things().servers.push(joined(server, more));
    }

    /// Adds a port of this project at this server, with these members more.
    pub fn add_port(&self, id: &str, server_id: &str, project_id: &str, more: Value) {
        let port = json!({
            "id": id,
            "device_id": server_id,
            "device_owner": "compute:nova",
            "project_id": project_id,
            "tenant_id": project_id,
            "network_id": "d32019d3-bc6e-4319-9c1d-6722fc136a22",
            "mac_address": "fa:16:3e:c9:cb:f0",
            "fixed_ips": [{"subnet_id": "a0304c3a-4f08-4c43-88af-d796509c97d2", "ip_address": "10.0.0.7"}],
            "status": "ACTIVE",
        });
        self.things().ports.push(joined(port, more));
    }

    /// Adds a user's key pair.
    pub fn add_keypair(&self, user_id: &str, name: &str, public_key: &str) {
        self.things().keypairs.push(json!({
            "id": 1,
            "name": name,
            "user_id": user_id,
            "type": "ssh",
            "public_key": public_key,
            "fingerprint": "7e:eb:ab:24:ba:d1:e1:88:ae:9a:fb:66:53:df:d3:bd",
            "created_at": "2026-01-05T10:00:00.000000",
            "deleted": false,
            "deleted_at": null,
            "updated_at": null,
        }));
    }

    /// Takes everything away.
    pub fn remove_all(&self) {
        *self.things() = Things::default();
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.things.lock().expect("no handler panics")
    }
}

impl Service {
    /// As the catalogue has it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.server.port(), self.path)
    }

    /// Trouble below the protocol.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Path and query of every request so far, as they came.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no handler panics").clone()
    }

    /// Refuses connections until [`restart`](Self::restart).
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again, on the same port.
    pub async fn restart(&self) {
        self.server.restart();
    }
}

fn joined(mut thing: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut thing, more) else {
        panic!("what is added is an object");
    };
    members.extend(more);
    thing
}

#[cfg(test)]
mod tests;
