//! Secrets that are replaced while the gateway runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use vendordock_stand_ins::{Authority, Guarded, Issued};

use crate::egress::{fetched, gateway};
use crate::gateway::{Gateway, instance};
use crate::program::{Directory, PATIENCE};
use crate::upstream::Upstream;

/// A gateway whose plugin may use `key` at the upstream, with the secret `old`.
async fn serving(upstream: &Guarded) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{url}"]
        "#,
        url = upstream.url()
    );
    Gateway::serve(Directory::new().with("key", "old\n"), &configuration).await
}

async fn version(gateway: &Gateway) -> String {
    let used = fetched(gateway, json!({"credential": "key", "use": "version"})).await;
    let version = used["used"].as_str().expect("a version");
    version.to_owned()
}

/// Puts another file in place of the secret's, as tools do that take care.
fn put(gateway: &Gateway, content: &str) {
    gateway.write("next", content);
    fs::rename(gateway.path("next"), gateway.path("key")).expect("both are files");
}

/// The same, and waits until plugins get the new one.
async fn replace(gateway: &Gateway, content: &str) -> String {
    let before = version(gateway).await;
    put(gateway, content);
    let asking = async {
        loop {
            let now = version(gateway).await;
            if now != before {
                return now;
            }
        }
    };
    let replaced = tokio::time::timeout(PATIENCE, asking).await;
    replaced.expect("the secret is replaced in time")
}

/// The status of a request to the strict upstream.
async fn status(gateway: &Gateway, upstream: &Guarded, path: &str, scheme: &str) -> Value {
    let mut metadata = json!({
        "url": format!("{}/{path}", upstream.url()),
        "credential": "key",
        "scheme": scheme,
    });
    if path == "log-in" {
        metadata["method"] = json!("POST");
        metadata["body"] = json!("user=alice");
    }
    fetched(gateway, metadata).await["status"].clone()
}

#[tokio::test]
async fn a_replaced_secret_is_used_without_a_restart_and_the_sessions_of_the_old_one_are_not() {
    let upstream = Guarded::start().await;
    // Knows both: it is the gateway that forgets.
    upstream.know(&["old", "new"]);
    let gateway = serving(&upstream).await;
    let ask = async |path, scheme| status(&gateway, &upstream, path, scheme).await;
    let first = version(&gateway).await;
    let before = [
        ask("log-in", "form-field:password").await,
        ask("session", "session").await,
    ];

    let second = replace(&gateway, "new\n").await;
    let after = [
        ask("session", "session").await,
        ask("log-in", "form-field:password").await,
        ask("session", "session").await,
        ask("bearer", "bearer").await,
    ];
    upstream.know(&["old"]);
    let third = replace(&gateway, "old\n").await;
    let back = [
        ask("session", "session").await,
        ask("bearer", "bearer").await,
    ];

    assert_eq!(before, [200, 200]);
    assert_eq!(after, [401, 200, 200, 200]);
    assert_eq!(back, [401, 200]);
    let secrets: Vec<_> = upstream
        .visits()
        .into_iter()
        .map(|visit| visit.secret)
        .collect();
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_deref()).collect();
    let (old, new) = (Some("old"), Some("new"));
    assert_eq!(secrets, [old, old, None, new, new, new, None, old]);
    assert!(upstream.visits()[2].headers.get("cookie").is_none());
    // A version is not a digest: the same secret has another one the second time.
    assert!(first != second && second != third && third != first);
}

#[tokio::test]
async fn a_file_that_is_written_again_with_the_same_secret_changes_nothing() {
    let upstream = Guarded::start().await;
    upstream.know(&["old", "new"]);
    let gateway = serving(&upstream).await;
    let first = version(&gateway).await;
    status(&gateway, &upstream, "log-in", "form-field:password").await;

    fs::remove_file(gateway.path("key")).expect("it is there");
    gateway.log_line(&["the new secret is not used"]).await;
    // By another file, and with another end of the line.
    put(&gateway, "old\r\n");
    gateway.log_line(&["there again, and the same"]).await;

    assert_eq!(version(&gateway).await, first);
    let session = status(&gateway, &upstream, "session", "session").await;
    assert_eq!(session, 200);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_leaves_the_one_before_it_and_is_told_by_key_and_path() {
    let upstream = Guarded::start().await;
    upstream.know(&["old", "new"]);
    let gateway = serving(&upstream).await;
    let told = async |what: &str| {
        let parts = [
            "ERROR",
            "targets.fetch.credentials.key",
            "from=key",
            "the new secret is not used, the one before it still is",
            what,
        ];
        gateway.log_line(&parts).await;
        let status = status(&gateway, &upstream, "bearer", "bearer").await;
        assert_eq!(status, 200, "{what}");
    };

    gateway.write("key", "\n");
    told("is empty").await;
    fs::remove_file(gateway.path("key")).expect("it is there");
    told("cannot be read: No such file").await;
    fs::create_dir(gateway.path("key")).expect("nothing is there");
    told("is not a regular file").await;
    fs::remove_dir(gateway.path("key")).expect("it is empty");
    put(&gateway, &"x".repeat(64 * 1024 + 1));
    told("has more than 65536 bytes").await;
    put(&gateway, "new\n");
    gateway
        .log_line(&[
            "targets.fetch.credentials.key",
            "from=key",
            "the secret was replaced",
        ])
        .await;

    status(&gateway, &upstream, "bearer", "bearer").await;
    let last = upstream.visits().pop().expect("a visit");
    assert_eq!(last.secret.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_call_ends_with_the_secret_and_the_session_that_it_began_with() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let logging_in = json!({
        "url": format!("{}/data", upstream.url()),
        "log_in": upstream.url(),
        "credential": "key",
        "scheme": "session",
    });

    let (report, ()) = tokio::join!(fetched(&gateway, logging_in), async {
        let log_in = upstream.next().await;
        assert!(log_in.request.ends_with("password=s3cret+%26+more"));
        replace(&gateway, "another").await;
        log_in
            .answer("200 OK", &["Set-Cookie: id=old; Path=/"], "")
            .await;
        let data = upstream.next().await;
        assert_eq!(data.header("cookie"), "id=old");
        data.answer("200 OK", &[], "").await;
    });
    let later = json!({"url": upstream.url(), "credential": "key", "scheme": "session"});
    let (_, ()) = tokio::join!(fetched(&gateway, later), async {
        let data = upstream.next().await;
        assert_eq!(data.header("cookie"), "");
        data.answer("200 OK", &[], "").await;
    });

    assert_eq!(report["status"], 200);
}

#[tokio::test]
async fn under_traffic_no_call_fails_and_none_mixes_one_secret_with_the_session_of_another() {
    let upstream = Guarded::start().await;
    upstream.know(&["old", "new", "newest"]);
    let gateway = Arc::new(serving(&upstream).await);
    let (done, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let traffic = (0..4).map(|_| {
        let (gateway, done, calls) = (gateway.clone(), done.clone(), calls.clone());
        let url = upstream.url();
        tokio::spawn(async move {
            let mut last = false;
            while !last {
                last = done.load(Ordering::Relaxed);
                let call = calls.fetch_add(1, Ordering::Relaxed);
                let body = instance(json!({
                    "url": format!("{url}/session"),
                    "log_in": format!("{url}/log-in"),
                    "header": format!("X-Call: {call}"),
                    "credential": "key",
                    "scheme": "session",
                }));
                let answer = gateway.ask("fetch", &body).await;
                assert_eq!(answer.at("/status"), 200, "{answer}");
            }
        })
    });
    let traffic: Vec<_> = traffic.collect();

    replace(&gateway, "new\n").await;
    replace(&gateway, "newest\n").await;
    done.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.expect("every call is answered");
    }

    let mut visits = upstream.visits();
    visits.sort_by(|one, other| one.call.cmp(&other.call));
    for call in visits.chunk_by(|one, other| one.call == other.call) {
        let [log_in, session] = call else {
            panic!("{call:?}");
        };
        assert_eq!(log_in.secret, session.secret, "{call:?}");
    }
    let newest = visits
        .iter()
        .filter(|visit| visit.secret.as_deref() == Some("newest"));
    // The last call of each began after the last replacement.
    assert!(newest.count() >= 2 * 4);
}

#[tokio::test]
async fn a_replaced_client_certificate_is_shown_on_new_connections_and_half_of_one_is_not_used() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let upstream = Guarded::start_tls(&servers, Some(&clients)).await;
    let (old, new) = (clients.issue(&["gateway"]), clients.issue(&["gateway"]));
    let whole = |issued: &Issued| issued.certificate_pem.clone() + &issued.key_pem;
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        ca_file = "ca.pem"
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{url}"]
        "#,
        url = upstream.url()
    );
    let directory = Directory::new()
        .with("ca.pem", servers.ca_pem())
        .with("key", whole(&old));
    let gateway = Gateway::serve(directory, &configuration).await;
    let ask = async || status(&gateway, &upstream, "certificate", "client-certificate").await;
    upstream.know_certificates(&[&old]);
    let before = ask().await;

    put(&gateway, &new.certificate_pem);
    gateway
        .log_line(&["ERROR", "holds no certificate with its key, in PEM: no key"])
        .await;
    let half = ask().await;
    put(&gateway, &(new.certificate_pem.clone() + &old.key_pem));
    gateway
        .log_line(&["ERROR", "holds no certificate with its key", "KeyMismatch"])
        .await;
    let mixed = ask().await;
    upstream.know_certificates(&[&new]);
    let unknown = ask().await;
    replace(&gateway, &whole(&new)).await;
    let after = ask().await;

    assert_eq!([before, half, mixed], [200, 200, 200]);
    assert_eq!([unknown, after], [401, 200]);
}
