//! Where a plugin gets to, and what it is told when it does not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vendordock_stand_ins::{Authority, Ipa};

use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

/// A gateway whose plugin may send requests where these rules lead, and with this much more said of its target.
pub(crate) async fn with_rules(rules: &str, more: &str) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        timeout_ms = 2000
        egress = [{rules}]
        {more}
        "#
    );
    Gateway::start(&configuration).await
}

/// A gateway whose plugin may call one origin, with one credential.
pub(crate) async fn gateway(upstream: &Upstream) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        timeout_ms = 2000
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{url}"]
        "#,
        url = upstream.url()
    );
    let directory = Directory::new().with("key", "s3cret & more\n");
    Gateway::serve(directory, &configuration).await
}

/// What the plugin is told of its request: `metadata` says which.
pub(crate) async fn fetched(gateway: &Gateway, metadata: Value) -> Value {
    let answer = gateway.ask("fetch", &instance(metadata)).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.at("")
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_never_connected_to() {
    let (granted, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = gateway(&granted).await;
    let by_name = granted.url().replace("127.0.0.1", "localhost");
    let by_tls = granted.url().replace("http:", "https:");

    let loopback = r#", networks = ["127.0.0.1/32"]"#;
    for (url, rule) in [
        (
            &other.url(),
            format!(r#"{{ to = "{}"{loopback} }}"#, other.url()),
        ),
        (&by_name, format!(r#""{by_name}""#)),
        (&by_tls, format!(r#"{{ to = "{by_tls}"{loopback} }}"#)),
    ] {
        let report = fetched(&gateway, json!({"url": format!("{url}/path?query")})).await;
        let denied = format!(r#"HttpError::Denied("{url} is not granted to this target")"#);
        assert_eq!(report, json!({"error": denied}));
        gateway
            .log_line(&["refused a request of the plugin", &format!("add {rule} to")])
            .await;
    }

    assert!(!other.has_another().await);

    let url = format!("{}/path?query", granted.url());
    let (report, ()) = tokio::join!(fetched(&gateway, json!({"url": url})), async {
        let first = granted.next().await;
        assert!(first.request.starts_with("GET /path?query HTTP/1.1\r\n"));
        first.answer("200 OK", &[], "well").await;
    });
    assert_eq!(
        (&report["status"], &report["body"]),
        (&json!(200), &json!("well"))
    );
}

#[tokio::test]
async fn a_url_that_means_two_hosts_to_two_readers_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let address = upstream.url().replace("http://", "");

    for url in [
        format!("http://{address}@evil.test/"),
        format!("http://evil.test@{address}/"),
        format!("http://evil.test#@{address}/"),
        format!("http://evil.test\\@{address}/"),
        format!("file://{address}/etc/passwd"),
    ] {
        let report = fetched(&gateway, json!({"url": url})).await;
        let error = report["error"].as_str().expect("an error");
        assert!(
            error.starts_with("HttpError::InvalidRequest")
                || error.starts_with("HttpError::Denied"),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn an_answer_of_more_than_a_mebibyte_is_not_read_to_its_end() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    let (report, ()) = tokio::join!(fetched(&gateway, json!({"url": upstream.url()})), async {
        let waiting = upstream.next().await;
        waiting
            .answer("200 OK", &[], &"x".repeat(1024 * 1024 + 1))
            .await;
    });

    assert_eq!(
        report,
        json!({"error": "HttpError::ResponseTooLarge(1048576)"})
    );
}

#[tokio::test]
async fn an_upstream_that_hangs_is_a_timeout_to_the_plugin_which_still_has_time_to_say_so() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    for (own_ms, most) in [(Some("200"), 1_000), (Some("60000"), 2_000), (None, 2_000)] {
        let mut metadata = json!({"url": upstream.url()});
        if let Some(own_ms) = own_ms {
            metadata["timeout_ms"] = json!(own_ms);
        }
        let started = Instant::now();
        let (answer, _never_answered) = tokio::join!(
            async {
                let answer = gateway.ask("fetch", &instance(metadata)).await;
                (answer.to_string(), started.elapsed())
            },
            upstream.next()
        );
        let (answer, took) = answer;
        assert_eq!(
            answer, r#"200 {"error":"HttpError::Timeout"}"#,
            "{own_ms:?}"
        );
        assert!(took < Duration::from_millis(most), "{took:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_or_speaks_no_http_is_an_error_of_its_own() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    let (broken, ()) = tokio::join!(fetched(&gateway, json!({"url": upstream.url()})), async {
        drop(upstream.next().await);
    });
    let (no_http, ()) = tokio::join!(fetched(&gateway, json!({"url": upstream.url()})), async {
        upstream.next().await.answer("no number", &[], "").await;
    });
    let url = upstream.url();
    drop(upstream);
    let refused = fetched(&gateway, json!({"url": url})).await;

    let error = |kind: &str, text: String| json!({"error": format!("HttpError::{kind}({text:?})")});
    let broke = error("Protocol", format!("the connection to {url} broke"));
    assert_eq!([&broken, &no_http], [&broke, &broke]);
    assert_eq!(
        refused,
        error("Connect", format!("cannot connect to {url}"))
    );
}

#[tokio::test]
async fn tls_is_trusted_only_where_the_configured_authority_has_signed() {
    let ipa = Ipa::start().await;
    let stranger = Authority::new();
    let url = ipa.url();
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.right]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        ca_file = "right.pem"
        [targets.wrong]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        ca_file = "wrong.pem"
        [targets.systems]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        "#
    );
    let directory = Directory::new()
        .with("right.pem", ipa.ca_pem())
        .with("wrong.pem", stranger.ca_pem());
    let gateway = Gateway::serve(directory, &configuration).await;
    let body = instance(json!({"url": format!("{url}/ipa/session/json")}));

    let right = gateway.ask("right", &body).await;
    let wrong = gateway.ask("wrong", &body).await;
    let systems = gateway.ask("systems", &body).await;

    // It is asked without a Referer.
    assert_eq!(right.at("/status"), 400, "{right}");
    let error = |reason: &str| {
        format!(r#"HttpError::Tls("TLS with {url} failed: invalid peer certificate: {reason}")"#)
    };
    assert_eq!(
        [wrong.at("/error"), systems.at("/error")],
        // Both authorities have the same name.
        [error("BadSignature"), error("UnknownIssuer")]
    );
}
