//! What plugins look up at keystone, glance, nova and neutron, with the gateway's own account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vendordock_stand_ins::{Keystone, OpenStack};

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;

mod real;
mod told;
mod trouble;

/// The project, instance and image of every request, as `instance` has them.
const PROJECT: &str = "039d104b7a5c4631b4ba6524d0b9e981";
const SERVER: &str = "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11";
const IMAGE: &str = "70a599e0-31e7-49b7-b260-868f441e862b";

/// And those of somebody else.
const OTHER: &str = "0e1f2a3b-0000-4000-8000-4d5e6f708192";

const ALL: &str = r#"["any-project", "domain", "any-image", "any-server", "any-ports", "keypair"]"#;

/// A cloud, and a gateway whose account is an admin there.
struct Cloud {
    keystone: Keystone,
    openstack: OpenStack,
    gateway: Gateway,
}

impl Cloud {
    /// With these grants, and these lines more in the file.
    async fn start(grants: &str, more: &str) -> Self {
        Self::start_as("admin", grants, more).await
    }

    async fn start_as(role: &str, grants: &str, more: &str) -> Self {
        let keystone = Keystone::start().await;
        keystone.add_account("vendordock", "gateway-secret", "service", &[role]);
        let openstack = OpenStack::start(&keystone).await;
        for (image, server, project) in [(IMAGE, SERVER, PROJECT), (OTHER, OTHER, "elsewhere")] {
            openstack.add_image(image, project, json!({"ipa_enroll": "true"}));
            openstack.add_server(server, project, json!({"key_name": "laptop"}));
            openstack.add_port("e1", server, project, json!({}));
        }
        openstack.add_keypair("b8f1c2d3e4f5", "laptop", "ssh-ed25519 AAAA alice");
        let gateway = gateway(
            &keystone.url(),
            "vendordock",
            "gateway-secret",
            grants,
            more,
        )
        .await;
        Self {
            keystone,
            openstack,
            gateway,
        }
    }

    async fn ask(&self, kind: &str, id: &str) -> Answer {
        self.gateway.ask("lookup", &looking_up(kind, id)).await
    }

    /// What the plugin was told, without the rest of what it found: the id, the name of the error, or both in one.
    async fn told(&self, kind: &str, id: &str) -> String {
        let answer = self.ask(kind, id).await;
        assert_eq!(answer.status, 200, "{answer}");
        match (answer.at("/error"), answer.at("/found")) {
            (Value::String(error), _) => error,
            (_, Value::Array(ports)) => format!("{} ports", ports.len()),
            (_, found) => found["id"].as_str().unwrap_or("no id").to_owned(),
        }
    }

    /// Asks again and again, until the plugin is told this.
    async fn told_at_last(&self, kind: &str, id: &str, expected: &str) {
        let asking = async { while self.told(kind, id).await != expected {} };
        tokio::time::timeout(Duration::from_secs(20), asking)
            .await
            .unwrap_or_else(|_| panic!("{kind} {id} is never {expected}"));
    }
}

async fn gateway(auth_url: &str, user: &str, password: &str, grants: &str, more: &str) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        [targets.lookup]
        component = "lookup.wasm"
        openstack = {grants}
        # The look-ups' own cache is what is tried out here.
        cache_max_ttl_ms = 0
        timeout_ms = 2000
        concurrent_calls = 64
        [keystone]
        auth_url = "{auth_url}"
        username = "{user}"
        password = {{ file = "password" }}
        [openstack]
        {more}
        "#
    );
    let directory = Directory::new().with("password", password);
    Gateway::serve(directory, &configuration).await
}

/// Each body is another, so that no two runs are one.
fn looking_up(kind: &str, id: &str) -> Value {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    instance(json!({"kind": kind, "id": id, "user_id": "b8f1c2d3e4f5", "number": number}))
}

#[tokio::test]
async fn a_plugin_gets_what_the_services_say_without_the_envelope() {
    let cloud = Cloud::start(ALL, "").await;
    let project = cloud.keystone.project_id("service");
    let mut found = Vec::new();
    for (kind, id) in [
        ("project", &*project),
        ("domain", "default"),
        ("image", IMAGE),
        ("server", SERVER),
        ("ports", SERVER),
        ("keypair", "laptop"),
    ] {
        let answer = cloud.ask(kind, id).await;
        found.push(answer.body.replace(&project, "PROJECT"));
    }

    insta::assert_snapshot!(found.join("\n"), @r#"
    {"found":{"description":"","domain_id":"default","enabled":true,"id":"PROJECT","is_domain":false,"links":{"self":"http://keystone.example.test/v3/projects/PROJECT"},"name":"service","options":{},"parent_id":"default","tags":[]}}
    {"found":{"description":"The default domain","enabled":true,"id":"default","links":{"self":"http://keystone.example.test/v3/domains/default"},"name":"Default","options":{},"tags":[]}}
    {"found":{"checksum":"ad2b2d4f2e9d0dd1b1e3d0e0f0bb7a9c","container_format":"bare","created_at":"2026-01-05T10:00:00Z","disk_format":"qcow2","file":"/v2/images/70a599e0-31e7-49b7-b260-868f441e862b/file","id":"70a599e0-31e7-49b7-b260-868f441e862b","ipa_enroll":"true","min_disk":0,"min_ram":0,"name":"debian-13","owner":"039d104b7a5c4631b4ba6524d0b9e981","protected":false,"schema":"/v2/schemas/image","self":"/v2/images/70a599e0-31e7-49b7-b260-868f441e862b","size":3221225472,"status":"active","tags":[],"updated_at":"2026-01-05T10:00:00Z","visibility":"private"}}
    {"found":{"OS-EXT-SRV-ATTR:user_data":null,"addresses":{},"config_drive":"True","created":"2026-01-05T10:00:00Z","flavor":{"disk":20,"extra_specs":{},"original_name":"m1.small","ram":2048,"vcpus":2},"id":"a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11","image":{"id":"70a599e0-31e7-49b7-b260-868f441e862b","links":[]},"key_name":"laptop","metadata":{},"name":"web","status":"ACTIVE","tenant_id":"039d104b7a5c4631b4ba6524d0b9e981","user_id":"b8f1c2d3e4f5"}}
    {"found":[{"device_id":"a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11","device_owner":"compute:nova","fixed_ips":[{"ip_address":"10.0.0.7","subnet_id":"a0304c3a-4f08-4c43-88af-d796509c97d2"}],"id":"e1","mac_address":"fa:16:3e:c9:cb:f0","network_id":"d32019d3-bc6e-4319-9c1d-6722fc136a22","project_id":"039d104b7a5c4631b4ba6524d0b9e981","status":"ACTIVE","tenant_id":"039d104b7a5c4631b4ba6524d0b9e981"}]}
    {"found":{"created_at":"2026-01-05T10:00:00.000000","deleted":false,"deleted_at":null,"fingerprint":"7e:eb:ab:24:ba:d1:e1:88:ae:9a:fb:66:53:df:d3:bd","id":1,"name":"laptop","public_key":"ssh-ed25519 AAAA alice","type":"ssh","updated_at":null,"user_id":"b8f1c2d3e4f5"}}
    "#);
    // In nova's microversions, or it would have neither the flavour nor the other user's key pair.
    assert_eq!(
        cloud.openstack.nova.asked(),
        [
            format!("/v2.1/servers/{SERVER}"),
            "/v2.1/os-keypairs/laptop?user_id=b8f1c2d3e4f5".to_owned()
        ]
    );
}

#[tokio::test]
async fn a_target_looks_up_what_it_was_granted_and_the_log_says_what_would_grant_the_rest() {
    let cloud = Cloud::start(r#"["image", "server"]"#, "").await;
    let mut told = Vec::new();
    for (kind, id) in [
        ("image", IMAGE),
        ("server", SERVER),
        ("ports", SERVER),
        ("project", PROJECT),
        ("domain", "default"),
        ("keypair", "laptop"),
    ] {
        told.push(format!("{kind}: {}", cloud.told(kind, id).await));
    }

    insta::assert_snapshot!(told.join("\n"), @r#"
    image: 70a599e0-31e7-49b7-b260-868f441e862b
    server: a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11
    ports: LookupError::NotGranted
    project: LookupError::NotGranted
    domain: LookupError::NotGranted
    keypair: LookupError::NotGranted
    "#);
    assert_eq!(cloud.openstack.neutron.asked(), [""; 0]);
    cloud
        .gateway
        .log_line(&[
            "WARN",
            "add \"ports\" to `openstack` under [targets.lookup]",
        ])
        .await;
}

#[tokio::test]
async fn a_plugin_looks_up_its_own_instance_only_unless_it_was_granted_any() {
    let own = Cloud::start(r#"["project", "image", "server", "ports"]"#, "").await;
    let any = Cloud::start(ALL, "").await;
    let mut told = Vec::new();
    for kind in ["image", "server", "ports"] {
        told.push(format!(
            "{kind} of another: {}, {}",
            own.told(kind, OTHER).await,
            any.told(kind, OTHER).await
        ));
    }
    let elsewhere = any.keystone.project_id("elsewhere");
    told.push(format!(
        "project of another: {}, {}",
        own.told("project", &elsewhere).await,
        any.told("project", &elsewhere)
            .await
            .replace(&elsewhere, "found")
    ));

    insta::assert_snapshot!(told.join("\n"), @r#"
    image of another: LookupError::NotGranted, 0e1f2a3b-0000-4000-8000-4d5e6f708192
    server of another: LookupError::NotGranted, 0e1f2a3b-0000-4000-8000-4d5e6f708192
    ports of another: LookupError::NotGranted, 1 ports
    project of another: LookupError::NotGranted, found
    "#);
    assert_eq!(own.openstack.nova.asked(), [""; 0]);
    // Its own is asked for, which this keystone does not have.
    assert_eq!(own.told("project", PROJECT).await, "LookupError::NotFound");
    assert_eq!(
        own.keystone.projects_asked(),
        [format!("/v3/projects/{PROJECT}")]
    );
    own.gateway
        .log_line(&[
            "WARN",
            "write \"any-server\" in `openstack` under [targets.lookup]",
        ])
        .await;
}

#[tokio::test]
async fn without_a_grant_nothing_is_looked_up_and_the_account_is_not_used() {
    let cloud = Cloud::start("[]", "").await;

    assert_eq!(
        cloud.told("server", SERVER).await,
        "LookupError::NotGranted"
    );
    assert_eq!(cloud.keystone.log_ins(), 0);
}

#[tokio::test]
async fn what_was_found_is_not_asked_for_again_while_it_is_fresh() {
    let cloud = Cloud::start(
        ALL,
        "keep_ms = { image = 600000, server = 0 }\nnot_found_ms = 600000",
    )
    .await;
    for _ in 0..3 {
        assert_eq!(cloud.told("image", IMAGE).await, IMAGE);
        assert_eq!(cloud.told("server", SERVER).await, SERVER);
        assert_eq!(cloud.told("image", "none").await, "LookupError::NotFound");
    }

    assert_eq!(
        cloud.openstack.glance.asked(),
        [format!("/v2/images/{IMAGE}"), "/v2/images/none".to_owned()]
    );
    assert_eq!(cloud.openstack.nova.asked().len(), 3);
    // One token and one catalogue for all of it.
    assert_eq!(
        (cloud.keystone.log_ins(), cloud.keystone.catalogue_reads()),
        (1, 1)
    );
}

#[tokio::test]
async fn equal_questions_that_come_together_are_asked_once() {
    let cloud = Arc::new(Cloud::start(ALL, "").await);
    cloud
        .openstack
        .glance
        .faults()
        .delay(Duration::from_millis(300));
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let cloud = cloud.clone();
        asking.spawn(async move { cloud.told("image", IMAGE).await });
    }

    assert_eq!(asking.join_all().await, vec![IMAGE; 50]);
    assert_eq!(cloud.openstack.glance.asked().len(), 1);
    assert_eq!(
        (cloud.keystone.log_ins(), cloud.keystone.catalogue_reads()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_hostile_id_reaches_no_other_resource() {
    let cloud = Cloud::start(ALL, "").await;
    let long = "a".repeat(100_000);
    for kind in ["project", "domain", "image", "server", "ports", "keypair"] {
        for id in [
            "../../v3/users",
            "..",
            ".",
            "%2e%2e/users",
            "a/../../os-hypervisors",
            "a\r\nX-Auth-Token: b",
            "a\nb",
            "a\0b",
            "",
            &long,
        ] {
            let told = cloud.told(kind, id).await;
            let is_fine = told == "LookupError::NotFound";
            assert!(is_fine, "{kind} {id:.20}: {told}");
        }
    }
    assert_eq!(cloud.openstack.glance.asked(), [""; 0]);
    assert_eq!(cloud.openstack.neutron.asked(), [""; 0]);
    assert_eq!(cloud.openstack.nova.asked(), [""; 0]);
    assert_eq!(cloud.keystone.projects_asked(), [""; 0]);

    // A key pair may be called nearly anything.
    for name in ["my key?user_id=admin#", "%2e%2e", "a&b=c", "\u{fc}"] {
        assert_eq!(cloud.told("keypair", name).await, "LookupError::NotFound");
    }
    assert_eq!(
        cloud.openstack.nova.asked(),
        [
            "/v2.1/os-keypairs/my%20key%3Fuser_id=admin%23?user_id=b8f1c2d3e4f5",
            "/v2.1/os-keypairs/%252e%252e?user_id=b8f1c2d3e4f5",
            "/v2.1/os-keypairs/a&b=c?user_id=b8f1c2d3e4f5",
            "/v2.1/os-keypairs/%C3%BC?user_id=b8f1c2d3e4f5",
        ]
    );
}

#[tokio::test]
async fn an_endpoint_of_the_configuration_needs_no_catalogue() {
    let elsewhere = Keystone::start().await;
    let listed = OpenStack::start(&elsewhere).await;
    let endpoint = format!("endpoints.image = \"{}\"", listed.glance.url());
    let cloud = Cloud::start(ALL, &endpoint).await;

    // Its tokens are another cloud's, where ours are nobody's.
    cloud.told("image", IMAGE).await;

    assert_eq!(listed.glance.asked().len(), 2);
    assert_eq!(cloud.openstack.glance.asked(), [""; 0]);
    assert_eq!(cloud.keystone.catalogue_reads(), 0);
}

#[tokio::test]
async fn the_clouds_of_one_gateway_are_looked_up_each_in_its_own() {
    let mut configuration = r#"
        [targets.lookup]
        component = "lookup.wasm"
        clouds = ["east", "west"]
        openstack = ["image"]
        cache_max_ttl_ms = 0
    "#
    .to_owned();
    let mut clouds = Vec::new();
    for name in ["east", "west"] {
        let keystone = Keystone::start().await;
        keystone.add_account("vendordock", "gateway-secret", "service", &["admin"]);
        let openstack = OpenStack::start(&keystone).await;
        openstack.add_image(IMAGE, PROJECT, json!({"name": format!("image of {name}")}));
        configuration += &format!(
            r#"
            [clouds.{name}]
            auth.require = "none"
            openstack.keep_ms = {{ image = 600000 }}
            [clouds.{name}.keystone]
            auth_url = "{}"
            username = "vendordock"
            password = {{ file = "password" }}
            "#,
            keystone.url()
        );
        clouds.push((keystone, openstack));
    }
    let directory = Directory::new().with("password", "gateway-secret");
    let gateway = Gateway::serve(directory, &configuration).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        for cloud in ["east", "west"] {
            let path = format!("{cloud}/lookup");
            let answer = gateway.ask(&path, &looking_up("image", IMAGE)).await;
            names.push(answer.at("/found/name"));
        }
    }

    let each = ["image of east", "image of west"];
    assert_eq!(names, [each, each].concat());
    for (keystone, openstack) in &clouds {
        assert_eq!((keystone.log_ins(), openstack.glance.asked().len()), (1, 1));
    }
}

#[tokio::test]
async fn one_call_makes_so_many_look_ups_and_no_more() {
    let cloud = Cloud::start(ALL, "").await;
    let mut body = looking_up("image", IMAGE);
    let mut told = Vec::new();
    for times in ["64", "65"] {
        body["metadata"]["times"] = json!(times);
        let answer = cloud.gateway.ask("lookup", &body).await;
        told.push((answer.at("/found/id"), answer.at("/error")));
    }

    assert_eq!(told[0].0, IMAGE);
    assert_eq!(
        told[1].1,
        "LookupError::Unavailable(\"this call has made 64 look-ups, which is all it may\")"
    );
    assert_eq!(cloud.openstack.glance.asked().len(), 1);
}
