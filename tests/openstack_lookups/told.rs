//! What an operator is told of look-ups: by `check`, by the metrics, in the log.

use reqwest::Method;

use super::{ALL, Cloud, IMAGE, OTHER, SERVER};
use crate::metrics::exposition::Exposition;
use crate::program::Directory;

#[tokio::test]
async fn look_ups_are_counted_by_kind_and_by_how_they_ended() {
    let cloud = Cloud::start(r#"["any-image", "server"]"#, "").await;
    for (kind, id) in [
        ("image", IMAGE),
        ("image", IMAGE),
        ("image", "none"),
        ("image", "a/b"),
        ("server", OTHER),
        ("ports", SERVER),
    ] {
        cloud.told(kind, id).await;
    }
    cloud.openstack.nova.stop().await;
    cloud.told("server", SERVER).await;

    let answer = cloud.gateway.ask_admin(Method::GET, "/metrics", "").await;
    let told = Exposition::of(&answer);
    insta::assert_snapshot!(told.told("vendordock_openstack_lookups_total"), @r#"
    kind=image outcome=answered 1
    kind=image outcome=cached 1
    kind=image outcome=invalid 1
    kind=image outcome=not_found 1
    kind=ports outcome=not_granted 1
    kind=server outcome=not_granted 1
    kind=server outcome=unavailable 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_openstack_lookup_duration_seconds_count"), @r#"
    kind=image 2
    kind=server 1
    "#);
}

#[tokio::test]
async fn the_log_has_neither_the_token_nor_what_was_asked_or_found() {
    let cloud = Cloud::start(ALL, "").await;
    cloud.told("keypair", "laptop").await;
    cloud.told("image", "hidden-in-an-id").await;
    cloud.openstack.glance.stop().await;
    cloud.told("image", OTHER).await;

    let written = cloud.gateway.written().await;
    assert!(written.contains("a look-up of image failed"), "{written}");
    for secret in [
        "gateway-secret",
        "gAAAA",
        "hidden-in-an-id",
        OTHER,
        "ssh-ed25519",
        "alice",
    ] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}

#[test]
fn what_is_granted_and_where_it_is_looked_up_is_shown_by_check() {
    let directory = Directory::new().with("password", "secret").with(
        "vendordock.toml",
        r#"
[keystone]
auth_url = "https://keystone.example.test:5000"
username = "vendordock"
password = { file = "password" }
[openstack]
region = "west"
interface = "internal"
endpoints.image = "https://images.example.test/v2"
keep_ms = { server = 1000 }
[targets.lookup]
component = "lookup.wasm"
openstack = ["project", "domain", "image", "any-server"]
"#,
    );
    let finished = directory.run(&["check", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    let told: Vec<&str> = finished
        .stdout
        .lines()
        .filter(|line| line.contains("look") || line.contains(" kept ") && line.starts_with("    "))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
      looks up identity at https://keystone.example.test:5000/v3
      looks up image at https://images.example.test/v2
      looks up compute at the catalogue's internal endpoint in region west
      look-ups: 3000 ms each, at most 16 at once, 16777216 bytes kept
        project kept 300000 ms, 3600000 ms more while the service is silent
        domain kept 300000 ms, 3600000 ms more while the service is silent
        image kept 300000 ms, 3600000 ms more while the service is silent
        server kept 1000 ms, 0 ms more while the service is silent
    target lookup: lookup 0.1.0 (Looks up what it is told to, and reports what came of it)
      component lookup.wasm
      may look up project, of the request's own instance
      may look up domain
      may look up image, of the request's own instance
      may look up server, of any instance and project
    "#);
}

#[test]
fn look_ups_that_cannot_be_made_are_found_by_check_with_key_and_line() {
    let directory = Directory::new().with(
        "vendordock.toml",
        r#"
auth.require = "none"
[openstack]
interface = "intern"
endpoints = { volume = "https://volumes.example.test" }
timeout_ms = 0
keep_ms = { servers = 1 }
[targets.wrong]
component = "lookup.wasm"
openstack = ["server", "servers"]
"#,
    );
    let wrong = directory.run(&["check", "--config", "vendordock.toml"]);
    let directory = directory.with(
        "vendordock.toml",
        r#"
auth.require = "none"
[openstack]
region = "west"
[targets.lookup]
component = "lookup.wasm"
openstack = ["server"]
"#,
    );
    let without_account = directory.run(&["check", "--config", "vendordock.toml"]);

    assert_eq!((wrong.code, without_account.code), (Some(2), Some(2)));
    insta::assert_snapshot!(wrong.stderr, @r#"
    vendordock.toml:4: openstack.interface: unknown variant `intern`, expected one of `public`, `internal`, `admin`
    vendordock.toml:5: openstack.endpoints.volume: unknown variant `volume`, expected one of `identity`, `image`, `compute`, `network`
    vendordock.toml:6: openstack.timeout_ms: invalid value: integer `0`, expected a nonzero u32
    vendordock.toml:7: openstack.keep_ms.servers: unknown key `servers`; did you mean `server`?
    vendordock.toml:10: targets.wrong.openstack: `servers` cannot be looked up; known are `project`, `image`, `server` and `ports` of the request's own instance, `any-project`, `any-image`, `any-server` and `any-ports`, `domain` and `keypair`
    "#);
    insta::assert_snapshot!(without_account.stderr, @r#"
    vendordock.toml:3: openstack: look-ups are made with the gateway's own account: `auth_url`, `username` and `password` (or an application credential) of the `keystone` table beside this one
    vendordock.toml:7: targets.lookup.openstack: look-ups are made with the gateway's own account, and it has none in cloud `default`: `auth_url`, `username` and `password` (or an application credential) of its `keystone` table
    "#);
}
