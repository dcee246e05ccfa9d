//! Headers that the operator adds to a plugin's requests.

use serde_json::json;
use vendordock_stand_ins::Guarded;

use crate::egress::fetched;
use crate::gateway::Gateway;
use crate::program::Directory;
use crate::upstream::Upstream;

/// What the environment has, and how.
const VARIABLES: [(&str, &str); 4] = [
    ("FRONT_HEADER_CF_ACCESS_CLIENT_ID", "front"),
    (
        "FRONT_HEADER_CF_ACCESS_CLIENT_SECRET",
        "from the environment",
    ),
    ("FRONT_HEADER_X_EMPTY", ""),
    ("OTHER_CF_ACCESS_CLIENT_ID", "other"),
];

/// Two upstreams that the plugin may call, the first of which has a gateway before it.
fn configuration(front: &Guarded, open: &Guarded) -> String {
    format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{front}", networks = ["127.0.0.0/8"] }},
            {{ to = "{open}", networks = ["127.0.0.0/8"] }},
        ]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{front}"]
        [targets.fetch.headers.front]
        origins = ["{front}"]
        env_prefix = "FRONT_HEADER_"
        set = {{ cf-access-client-secret = {{ file = "front-secret" }} }}
        "#,
        front = front.url(),
        open = open.url(),
    )
}

fn directory() -> Directory {
    Directory::new()
        .with("key", "s3cret\n")
        .with("front-secret", " from the file\n")
}

async fn serving(front: &Guarded, open: &Guarded) -> Gateway {
    let configuration = configuration(front, open);
    Gateway::serve_by(directory(), &configuration, |directory, arguments| {
        directory.spawn_with(&VARIABLES, arguments)
    })
    .await
}

#[tokio::test]
async fn every_request_to_their_origins_has_them_and_no_other_and_the_file_wins() {
    let (front, open) = (Guarded::start().await, Guarded::start().await);
    front.know(&["from the file"]);
    open.know(&["from the file", "s3cret"]);
    let gateway = serving(&front, &open).await;
    let url = |upstream: &Guarded| format!("{}/front", upstream.url());

    let plain = fetched(&gateway, json!({"url": url(&front)})).await;
    let with = json!({"url": url(&front), "credential": "key"});
    let with = fetched(&gateway, with).await;
    let other = fetched(&gateway, json!({"url": url(&open)})).await;

    assert_eq!(
        [&plain["status"], &with["status"], &other["status"]],
        [200, 200, 401]
    );
    let visits = front.visits();
    assert_eq!(visits[1].headers["authorization"], "Bearer s3cret");
    for visit in &visits {
        assert!(visit.headers.get("x-empty").is_none(), "{visit:?}");
    }
    let without = &open.visits()[0].headers;
    assert!(
        without.keys().all(|name| !name.as_str().starts_with("cf-")),
        "{without:?}"
    );
}

#[tokio::test]
async fn a_plugin_can_neither_set_them_nor_put_a_credential_in_their_place() {
    let (front, open) = (Guarded::start().await, Guarded::start().await);
    open.know(&["s3cret"]);
    let gateway = serving(&front, &open).await;
    let url = front.url();

    for name in ["CF-Access-Client-Secret", "cf-access-client-id"] {
        let own = json!({"url": url, "header": format!("{name}: mine")});
        let own = fetched(&gateway, own).await;
        let message = format!(
            "the header `{}` is the gateway's to set",
            name.to_lowercase()
        );
        assert_eq!(
            own,
            json!({"error": format!("HttpError::InvalidRequest({message:?})")})
        );

        let placed = json!({"url": url, "credential": "key", "scheme": format!("header:{name}")});
        let placed = fetched(&gateway, placed).await;
        let message = "a header of the operator's stands where the credential would go";
        assert_eq!(
            placed,
            json!({"error": format!("HttpError::Credential({message:?})")})
        );
    }

    // Elsewhere they are headers like others.
    let elsewhere = json!({"url": open.url(), "header": "CF-Access-Client-Id: mine"});
    fetched(&gateway, elsewhere).await;
    assert_eq!(open.visits()[0].headers["cf-access-client-id"], "mine");
    assert!(front.visits().is_empty());
}

#[tokio::test]
async fn each_hop_of_a_redirect_has_those_of_its_own_origin_and_none_of_the_one_before() {
    let (front, open) = (Upstream::start().await, Upstream::start().await);
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{front}", networks = ["127.0.0.0/8"] }},
            {{ to = "{open}", networks = ["127.0.0.0/8"] }},
        ]
        [targets.fetch.headers.front]
        origins = ["{front}"]
        # One that a redirect would carry to another origin, were it the plugin's.
        set = {{ X-Front = {{ file = "front" }}, User-Agent = {{ file = "front" }} }}
        [targets.fetch.headers.open]
        origins = ["{open}"]
        set = {{ X-Open = {{ file = "open" }} }}
        "#,
        front = front.url(),
        open = open.url(),
    );
    let directory = Directory::new()
        .with("front", "of the front")
        .with("open", "of the other");
    let gateway = Gateway::serve(directory, &configuration).await;
    let asked = json!({"url": front.url(), "max_redirects": "2"});

    let (report, hops) = tokio::join!(fetched(&gateway, asked), async {
        let mut hops = Vec::new();
        for (at, to) in [(&front, Some(&front)), (&front, Some(&open)), (&open, None)] {
            let hop = at.next().await;
            hops.push(["x-front", "user-agent", "x-open"].map(|name| hop.header(name).to_owned()));
            match to {
                Some(to) => {
                    let location = format!("Location: {}/next", to.url());
                    hop.answer("302 Found", &[&location], "").await;
                }
                None => hop.answer("200 OK", &[], "there").await,
            }
        }
        hops
    });

    assert_eq!(report["body"], "there", "{report}");
    let at_front = ["of the front", "of the front", ""];
    assert_eq!(hops, [at_front, at_front, ["", "", "of the other"]]);
}

#[tokio::test]
async fn a_header_whose_file_changes_has_the_new_value_without_a_restart() {
    let (front, open) = (Guarded::start().await, Guarded::start().await);
    front.know(&["the new one"]);
    let gateway = serving(&front, &open).await;
    let body = json!({"url": format!("{}/front", front.url())});
    let before = fetched(&gateway, body.clone()).await;

    gateway.write("front-secret", "two\nlines\n");
    let told = gateway
        .log_line(&["ERROR", "cannot stand in a header"])
        .await;
    gateway.write("front-secret", "the new one");
    gateway
        .log_line(&[
            "the secret was replaced",
            "headers.front cf-access-client-secret",
        ])
        .await;
    let after = fetched(&gateway, body).await;

    assert!(!told.contains("two"), "{told}");
    assert_eq!([&before["status"], &after["status"]], [401, 200]);
}

#[tokio::test]
async fn check_tells_them_by_name_with_the_credentials_and_what_each_may_be_used_for() {
    let (front, open) = (Guarded::start().await, Guarded::start().await);
    let configuration = configuration(&front, &open)
        + &format!(
            r#"
            [targets.fetch.credentials.front]
            secret = {{ env = "OTHER_CF_ACCESS_CLIENT_ID" }}
            origins = ["{front}"]
            schemes = ["basic:alice", "session"]
            hmac = true
            [targets.fetch.credentials.api]
            secret = {{ file = "key" }}
            hmac = true
            reveal = true
            "#,
            front = front.url()
        );
    let directory = directory().with("vendordock.toml", &configuration);

    let finished = directory.run_with(&VARIABLES, &["check", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    let told = finished
        .stdout
        .replace(&front.url(), "FRONT")
        .replace(&open.url(), "OPEN");
    let target: Vec<&str> = told
        .lines()
        .skip_while(|line| !line.contains("may call"))
        .collect();
    insta::assert_snapshot!(target.join("\n"), @r#"
      may call { to = "FRONT", networks = ["127.0.0.0/8"] }, sending 1048576 bytes, receiving 1048576, connecting within 2000 ms
      may call { to = "OPEN", networks = ["127.0.0.0/8"] }, sending 1048576 bytes, receiving 1048576, connecting within 2000 ms
      one call: at most 32 requests, 8 at once, 8388608 bytes sent, 8388608 received; wasi:http withheld
      may use credential api from key: signs what the plugin likes (hmac); shown to the plugin (reveal)
      may use credential front from $OTHER_CF_ACCESS_CLIENT_ID: sent to FRONT by basic:alice, session; signs what the plugin likes (hmac)
      may use credential key from key: sent to FRONT by any scheme
      requests to FRONT get the header cf-access-client-secret from front-secret
      requests to FRONT get the header Cf-Access-Client-Id from $FRONT_HEADER_CF_ACCESS_CLIENT_ID
      warning: the header `cf-access-client-secret` comes from front-secret, and the environment variable FRONT_HEADER_CF_ACCESS_CLIENT_SECRET is not used
    vendordock.toml: all well
    "#);
}

#[test]
fn check_points_at_headers_and_credentials_that_cannot_be_used() {
    let configuration = r#"
auth.require = "none"
[targets.fetch]
component = "fetch.wasm"
egress = ["https://a.example.test", "http://b.example.test"]

[targets.fetch.headers.one]
origins = ["https://a.example.test", "https://c.example.test"]
env_prefix = ""

[targets.fetch.headers.two]
origins = []
set = { X-A = { file = "a" }, x-a = { file = "a" } }

[targets.fetch.headers.three]
origins = ["https://a.example.test"]

[targets.fetch.headers.four]
origins = ["https://a.example.test"]
set = { Content-Length = { file = "a" } }

[targets.fetch.credentials.one]
secret = { file = "a" }

[targets.fetch.credentials.two]
secret = { file = "a" }
origins = ["http://b.example.test"]
schemes = ["client-certificate", "digest"]

[targets.fetch.credentials.three]
secret = { file = "a" }
origins = ["http://b.example.test"]
schemes = ["client-certificate"]
"#;
    let check = |configuration: &str| {
        let directory = Directory::new()
            .with("vendordock.toml", configuration)
            .with("a", "two\nlines")
            .with("good", "one line");
        let variables = [("HEADER_HOST", "hunter2")];
        let finished = directory.run_with(&variables, &["check", "--config", "vendordock.toml"]);
        assert_eq!(finished.code, Some(2), "{}", finished.stdout);
        finished.stderr
    };

    // A value that cannot be read as what it should be is told before what concerns several values.
    insta::assert_snapshot!(check(configuration), @"
    vendordock.toml:20: targets.fetch.headers.four.set.Content-Length: the header `Content-Length` is the gateway's or the plugin's to set
    vendordock.toml:28: targets.fetch.credentials.two.schemes: there is no scheme `digest`; known: bearer, basic, header, form-field, session, client-certificate
    ");
    let readable = configuration
        .replace(", \"digest\"", "")
        .replace("Content-Length", "X-B");
    insta::assert_snapshot!(check(&readable), @"
    vendordock.toml:8: targets.fetch.headers.one.origins: no rule of the target's `egress` leads to `https://c.example.test`
    vendordock.toml:9: targets.fetch.headers.one.env_prefix: an empty prefix makes headers of the whole environment
    vendordock.toml:12: targets.fetch.headers.two.origins: without an origin they go nowhere
    vendordock.toml:13: targets.fetch.headers.two.set.x-a: `X-A` and `x-a` are one header
    vendordock.toml:15: targets.fetch.headers.three: no header: give some in `set`, or an `env_prefix`
    vendordock.toml:22: targets.fetch.credentials.one.origins: without an origin it can never be sent anywhere
    vendordock.toml:27: targets.fetch.credentials.two.origins: a client's certificate is shown in TLS, which http://b.example.test has not
    vendordock.toml:32: targets.fetch.credentials.three.origins: a client's certificate is shown in TLS, which http://b.example.test has not
    ");
    let loadable = r#"
auth.require = "none"
[targets.fetch]
component = "fetch.wasm"
egress = ["https://a.example.test"]

[targets.fetch.headers.one]
origins = ["https://a.example.test"]
env_prefix = "HEADER_"

[targets.fetch.headers.two]
origins = ["https://a.example.test"]
set = { X-A = { file = "a" }, X-B = { file = "missing" }, X-C = { file = "good" } }

[targets.fetch.headers.three]
origins = ["https://a.example.test"]
set = { x-c = { file = "good" } }

[targets.fetch.credentials.one]
secret = { file = "a" }
origins = ["https://a.example.test"]
schemes = ["bearer"]

[targets.fetch.credentials.two]
secret = { file = "a" }
origins = ["https://a.example.test"]
schemes = ["client-certificate"]
"#;
    insta::assert_snapshot!(check(loadable), @"
    vendordock.toml:7: targets.fetch.headers.one: headers `one`: the environment variable HEADER_HOST: the header `Host` is the gateway's or the plugin's to set
    vendordock.toml:11: targets.fetch.headers.two: headers `two`: header `X-A`: the secret in a cannot stand in a header: visible ASCII, at most 8192 bytes
    vendordock.toml:11: targets.fetch.headers.two: headers `two`: header `X-B`: the secret file missing cannot be read: No such file or directory (os error 2)
    vendordock.toml:11: targets.fetch.headers.two: headers `two`: the header `X-C` is set for the same origin by another group
    vendordock.toml:19: targets.fetch.credentials.one: credential `one`: the secret in a cannot stand in a header: visible ASCII, at most 8192 bytes
    vendordock.toml:24: targets.fetch.credentials.two: credential `two`: a holds no certificate with its key, in PEM: no certificate
    ");
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;

    let configuration = r#"
[keystone]
auth_url = "https://keystone.example.test:5000"
username = "vendordock"
password = { file = "password" }
[targets.fetch]
component = "fetch.wasm"
egress = ["https://a.example.test"]
[targets.fetch.credentials.key]
secret = { file = "key" }
origins = ["https://a.example.test"]
[targets.fetch.headers.front]
origins = ["https://a.example.test"]
set = { X-A = { file = "a" } }
"#;
    let directory = Directory::new()
        .with("vendordock.toml", configuration)
        .with("password", "secret")
        .with("key", "secret")
        .with("a", "secret");
    for (name, mode) in [("password", 0o644), ("key", 0o604), ("a", 0o660)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path(name), permissions).expect("it is ours");
    }

    let finished = directory.run(&["check", "--config", "vendordock.toml"]);

    let warnings: Vec<&str> = finished
        .stdout
        .lines()
        .filter(|line| line.contains("warning"))
        .collect();
    insta::assert_snapshot!(warnings.join("\n"), @"
      warning: the secret file key can be read by every user of this machine (mode 0604): `chmod 0640` or less
      warning: the secret file a can be replaced by others than its owner (mode 0660): `chmod 0640` or less
    warning: the secret file password can be read by every user of this machine (mode 0644): `chmod 0640` or less
    ");
}
