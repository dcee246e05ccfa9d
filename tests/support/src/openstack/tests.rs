//! The stand-ins against the documented behaviour of what they stand for.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::OpenStack;
use crate::Keystone;

const HOUR: Duration = Duration::from_secs(3600);

struct Cloud {
    openstack: OpenStack,
    admin: String,
    member: String,
}

/// One project has everything; the member is of another.
async fn cloud() -> Cloud {
    let keystone = Keystone::start().await;
    let openstack = OpenStack::start(&keystone).await;
    openstack.add_image("i1", "p1", json!({"ipa_enroll": "true"}));
    openstack.add_server("s1", "p1", json!({}));
    openstack.add_port("o1", "s1", "p1", json!({}));
    openstack.add_keypair("u1", "laptop", "ssh-ed25519 AAAA");
    Cloud {
        openstack,
        admin: keystone.issue("vendordock", "service", &["admin"], HOUR),
        member: keystone.issue("plain", "demo", &["member"], HOUR),
    }
}

async fn get(url: String, token: &str, version: &str) -> (u16, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = Client::new().get(url).header("X-Auth-Token", token);
    if !version.is_empty() {
        request = request.header("OpenStack-API-Version", version);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a text");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[tokio::test]
async fn an_admin_sees_what_is_hidden_from_another_projects_member() {
    let Cloud {
        openstack,
        admin,
        member,
    } = cloud().await;
    let urls = [
        format!("{}/v2/images/i1", openstack.glance.url()),
        format!("{}/servers/s1", openstack.nova.url()),
        format!("{}/os-keypairs/laptop?user_id=u1", openstack.nova.url()),
        format!("{}/v2.0/ports?device_id=s1", openstack.neutron.url()),
    ];
    let mut statuses = Vec::new();
    for url in urls {
        for token in [&*admin, &member, "gAAAAABgarbage"] {
            statuses.push(get(url.clone(), token, "compute 2.54").await.0);
        }
    }

    assert_eq!(
        statuses,
        [200, 404, 401, 200, 404, 401, 200, 403, 401, 200, 200, 401]
    );
    let url = format!("{}/v2.0/ports?device_id=s1", openstack.neutron.url());
    assert_eq!(get(url, &member, "").await.1, json!({"ports": []}));
}

#[tokio::test]
async fn nova_answers_in_the_version_that_it_is_asked_in() {
    let Cloud {
        openstack, admin, ..
    } = cloud().await;
    let server = format!("{}/servers/s1", openstack.nova.url());
    let keypair = format!("{}/os-keypairs/laptop?user_id=u1", openstack.nova.url());

    let (_, old) = get(server.clone(), &admin, "").await;
    let (_, new) = get(server.clone(), &admin, "compute 2.47").await;
    assert_eq!(old["server"]["flavor"]["vcpus"], json!(null));
    assert_eq!(new["server"]["flavor"]["vcpus"], 2);

    assert_eq!(get(keypair.clone(), &admin, "compute 2.9").await.0, 404);
    assert_eq!(get(keypair, &admin, "compute 2.10").await.0, 200);
    for version in ["compute 2.999", "compute 3.0", "2.54", "volume 3.0"] {
        assert_eq!(
            get(server.clone(), &admin, version).await.0,
            406,
            "{version}"
        );
    }
}
