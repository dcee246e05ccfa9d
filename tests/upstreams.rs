//! Upstreams that are slow, endless or particular, and the connections to them.

use std::time::{Duration, Instant};

use serde_json::json;
use vendordock_stand_ins::Authority;

use crate::egress::{fetched, gateway};
use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

#[tokio::test]
async fn an_upstream_that_drips_costs_no_more_than_the_calls_own_time() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let started = Instant::now();
    let metadata = json!({"url": upstream.url(), "timeout_ms": "300"});

    let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
        let mut waiting = upstream.next().await;
        waiting.write(b"HTTP/1.1 200 OK\r\n\r\n").await;
        // As fast as it can, one byte at a time.
        while waiting.write(b"x").await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });

    assert_eq!(report, json!({"error": "HttpError::Timeout"}));
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_upstream_that_sends_a_gibibyte_is_cut_off_at_the_limit() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let piece = [b'x'; 1 << 16];

    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ] {
        let (report, taken_bytes) =
            tokio::join!(fetched(&gateway, json!({"url": upstream.url()})), async {
                let mut waiting = upstream.next().await;
                waiting.write(head.as_bytes()).await;
                let mut taken_bytes = 0;
                while taken_bytes < 1 << 30 && waiting.write(&piece).await {
                    taken_bytes += piece.len();
                }
                taken_bytes
            });
        assert_eq!(
            report,
            json!({"error": "HttpError::ResponseTooLarge(1048576)"})
        );
        // What is over has gone into the buffers of the two sockets.
        assert!(taken_bytes < 32 << 20, "{taken_bytes}");
    }
}

#[tokio::test]
async fn an_endless_head_is_an_error_and_not_a_growing_buffer() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    let (report, taken_bytes) =
        tokio::join!(fetched(&gateway, json!({"url": upstream.url()})), async {
            let mut waiting = upstream.next().await;
            waiting.write(b"HTTP/1.1 200 OK\r\nX: ").await;
            let mut taken_bytes = 0;
            while taken_bytes < 1 << 28 && waiting.write(&[b'x'; 1 << 16]).await {
                taken_bytes += 1 << 16;
            }
            taken_bytes
        });

    let broke = format!("the connection to {} broke", upstream.url());
    assert_eq!(
        report,
        json!({"error": format!("HttpError::Protocol({broke:?})")})
    );
    assert!(taken_bytes < 32 << 20, "{taken_bytes}");
}

#[tokio::test]
async fn calls_of_one_target_share_connections_and_nobody_else_does() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let networks = r#"networks = ["127.0.0.0/8"]"#;
    let target = format!(
        r#"
        component = "fetch.wasm"
        egress = [{{ to = "{url}/a", {networks} }}, {{ to = "{url}", methods = ["GET"], {networks} }}]
        credentials.key = {{ secret = {{ file = "key" }}, origins = ["{url}"] }}
        "#
    );
    let configuration =
        format!("auth.require = \"none\"\n[targets.fetch]\n{target}\n[targets.other]\n{target}");
    let directory = Directory::new().with("key", "s3cret");
    let gateway = Gateway::serve(directory, &configuration).await;

    let request = async |target: &str, metadata: serde_json::Value| {
        let answer = gateway.ask(target, &instance(metadata)).await;
        answer.at("/body")
    };
    let plain = json!({"url": format!("{url}/a")});

    // Two calls, by two rules that make connections alike.
    let ((), waiting) = tokio::join!(
        async {
            assert_eq!(request("fetch", plain.clone()).await, "first");
            let by_another_rule = json!({"url": format!("{url}/b")});
            assert_eq!(request("fetch", by_another_rule).await, "second");
        },
        async {
            let again = upstream.next().await.answer_and_wait("first").await;
            assert!(again.request.starts_with("GET /b "));
            again.answer_open("second").await
        }
    );
    // The connection stays open, and these make their own all the same.
    let with_secret = json!({"url": format!("{url}/a"), "credential": "key"});
    for (target, metadata) in [("other", plain), ("fetch", with_secret)] {
        let (body, ()) = tokio::join!(request(target, metadata), async {
            upstream.next().await.answer("200 OK", &[], "own").await;
        });
        assert_eq!(body, "own");
    }
    drop(waiting);
}

#[tokio::test]
async fn a_rules_client_certificate_is_shown_to_its_upstream_and_to_no_other() {
    let authority = Authority::new();
    let (server, client) = (
        authority.issue(&["127.0.0.1"]),
        authority.issue(&["plugin"]),
    );
    // Another gateway is the upstream: one that asks for a certificate.
    let upstream = Directory::new()
        .with("tls.pem", &server.certificate_pem)
        .with("tls-key.pem", &server.key_pem)
        .with("ca.pem", authority.ca_pem());
    let configuration = r#"
        server.tls = { certificate_file = "tls.pem", key_file = "tls-key.pem", client_ca_file = "ca.pem" }
        auth.require = "client-certificate"
        auth.client_certificate.any_of_this_authority = true
        targets.echo = { component = "echo.wasm" }
        "#;
    let upstream = Gateway::serve(upstream, configuration).await;
    let url = format!("https://{}", upstream.address);
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        ca_file = "ca.pem"
        [[targets.fetch.egress]]
        to = "{url}/v1/echo"
        networks = ["127.0.0.0/8"]
        client_certificate = {{ certificate_file = "client.pem", key_file = "client-key.pem" }}
        [[targets.fetch.egress]]
        to = "{url}"
        networks = ["127.0.0.0/8"]
        "#
    );
    let directory = Directory::new()
        .with("ca.pem", authority.ca_pem())
        .with("client.pem", &client.certificate_pem)
        .with("client-key.pem", &client.key_pem);
    let gateway = Gateway::serve(directory, &configuration).await;
    let body = instance(json!({})).to_string();
    let request = |path: &str| {
        json!({
            "url": format!("{url}{path}"),
            "method": "POST",
            "body": body,
            "header": "content-type: application/json",
        })
    };

    let with = fetched(&gateway, request("/v1/echo")).await;
    let without = fetched(&gateway, request("/v1/other")).await;

    assert_eq!(with["status"], 200, "{with}");
    assert_eq!(without["status"], 403, "{without}");
}
