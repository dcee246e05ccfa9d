//! A real keystone, with its catalogue, and a real glance.

use serde_json::{Value, json};

use super::{ALL, IMAGE, looking_up};
use crate::gateway::Gateway;
use crate::nova::KEYSTONE;
use crate::openstack::{Account, Glance};
use crate::program::Directory;

/// What the plugin is told that looks this up with that account.
async fn told(account: &Account, kind: &str, id: &str) -> Value {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.lookup]
        component = "lookup.wasm"
        openstack = {ALL}
        # Real services take their time where everything runs on two cores.
        timeout_ms = 15000
        [openstack]
        timeout_ms = 15000
        [keystone]
        timeout_ms = 15000
        auth_url = "{}"
        username = "{}"
        project_name = "{}"
        password = {{ file = "password" }}
        "#,
        account.auth_url, account.username, account.project_name
    );
    let directory = Directory::new().with("password", &account.password);
    let gateway = Gateway::serve(directory, &configuration).await;
    gateway.ask("lookup", &looking_up(kind, id)).await.at("")
}

#[tokio::test]
async fn real_services_are_found_in_a_real_catalogue_and_tell_what_the_account_may_see() {
    let admin = KEYSTONE.account("adminother", "demo");
    let service = KEYSTONE.account("vendordock", "service");
    let project = KEYSTONE.project_id("service");

    let found = told(&admin, "project", project).await;
    assert_eq!(found["found"]["name"], "service");
    assert_eq!(found["found"]["domain_id"], "default");
    let found = told(&admin, "domain", "default").await;
    assert_eq!(found["found"]["name"], "Default");
    let nothing = "00000000000000000000000000000000";
    let mut errors = vec![
        told(&admin, "project", nothing).await,
        told(&service, "project", KEYSTONE.project_id("demo")).await,
        told(&admin, "image", IMAGE).await,
    ];

    let glance = Glance::start(&KEYSTONE);
    KEYSTONE.list("image", &glance.url);
    let image = json!({"id": IMAGE, "name": "debian-13", "ipa_enroll": "true", "owner": project});
    glance.add_image(&KEYSTONE.token("adminother", "demo"), &image);
    let found = told(&admin, "image", IMAGE).await;
    assert_eq!(found["found"]["ipa_enroll"], "true");
    assert_eq!(found["found"]["owner"], project);
    errors.push(told(&admin, "image", "another").await);
    // The image is private, and the account no admin of another project.
    let plain = KEYSTONE.account("plain", "demo");
    errors.push(told(&plain, "image", IMAGE).await);

    let errors: Vec<String> = errors.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    {"error":"LookupError::NotFound"}
    {"error":"LookupError::Unavailable(\"keystone forbids it: the gateway's account lacks the role admin\")"}
    {"error":"LookupError::Unavailable(\"the catalogue does not tell where glance is\")"}
    {"error":"LookupError::NotFound"}
    {"error":"LookupError::NotFound"}
    "#);
}
