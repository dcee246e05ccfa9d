//! SIGTERM: readiness ends first, then nothing new begins, what runs may end, and the exit code says that all is well.

use std::time::Instant;

use serde_json::json;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, instance};
use crate::program::PATIENCE;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_call_that_runs_when_the_gateway_is_told_to_stop_still_gets_its_answer() {
    for signal in ["TERM", "INT"] {
        let upstream = Upstream::start().await;
        let url = upstream.url();
        let mut gateway = Gateway::start(&format!(
            r#"
            auth.require = "none"
            targets.fetch = {{ component = "fetch.wasm", egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}] }}
            "#,
        ))
        .await;
        let body = instance(json!({"url": url}));

        let (answer, ()) = tokio::join!(gateway.ask("fetch", &body), async {
            let waiting = upstream.next().await;
            gateway.signal(signal);
            gateway.log_line(&["no new connections"]).await;
            // The line is written just before the listener closes.
            while TcpStream::connect(gateway.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            waiting
                .answer("200 OK", &[], "late, and not too late")
                .await;
        });

        assert_eq!(answer.status, 200);
        assert_eq!(answer.at("/body"), "late, and not too late");
        assert_eq!(gateway.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn a_call_that_does_not_end_holds_up_the_stop_no_longer_than_configured() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let mut gateway = Gateway::start(&format!(
        r#"
        server.shutdown_timeout_ms = 300
        auth.require = "none"
        targets.fetch = {{ component = "fetch.wasm", egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}], timeout_ms = 60000 }}
        "#,
    ))
    .await;
    let body = instance(json!({"url": url}));
    let request = gateway.request(reqwest::Method::POST, "/v1/fetch");
    let asking = tokio::spawn(request.json(&body).send());
    let _never_answered = upstream.next().await;

    let told = Instant::now();
    gateway.signal("TERM");
    let exit_code = gateway.exit_code().await;

    assert_eq!(exit_code, Some(0));
    assert!(told.elapsed().as_millis() >= 300, "it was given its time");
    assert!(asking.await.expect("no panic").is_err(), "it was cut off");
    gateway.log_line(&["requests were still running"]).await;
}

#[tokio::test]
async fn a_plugin_that_never_returns_does_not_keep_the_gateway_from_ending() {
    let mut gateway = Gateway::start(
        r#"
        server.shutdown_timeout_ms = 300
        engine.concurrent_calls = 1
        auth.require = "none"
        targets.spin = { component = "spin.wasm", timeout_ms = 60000 }
        targets.echo = { component = "echo.wasm", timeout_ms = 100, cache_max_ttl_ms = 0 }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let request = gateway.request(reqwest::Method::POST, "/v1/spin");
    let _spinning = tokio::spawn(request.json(&body).send());
    // It has the only place, and so it runs.
    gateway.ask_until(503, "echo", &body).await;

    gateway.signal("TERM");

    assert_eq!(gateway.exit_code().await, Some(0));
}

#[tokio::test]
async fn readiness_ends_first_and_requests_are_still_taken() {
    let mut gateway = Gateway::start(
        r#"
        server.drain_ms = 60000
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let before = gateway.ask("echo", &body).await;
    assert_eq!((before.status, before.header("connection")), (200, ""));
    assert_eq!(gateway.get("/readyz").await.status, 200);

    gateway.signal("TERM");
    gateway.log_line(&["requests are still taken"]).await;

    let readiness = gateway.get("/readyz").await;
    assert_eq!(readiness.to_string(), r#"503 {"status":"stopping"}"#);
    let answer = gateway.ask("echo", &body).await;
    // The next one goes to a gateway that stays.
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert_eq!(gateway.get("/healthz").await.status, 200);

    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_waiting_for_requests_that_run() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let mut gateway = Gateway::start(&format!(
        r#"
        server.shutdown_timeout_ms = 60000
        auth.require = "none"
        targets.fetch = {{ component = "fetch.wasm", egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}], timeout_ms = 60000 }}
        "#,
    ))
    .await;
    let body = instance(json!({"url": url}));
    let request = gateway.request(reqwest::Method::POST, "/v1/fetch");
    let asking = tokio::spawn(request.json(&body).send());
    let _never_answered = upstream.next().await;
    gateway.signal("TERM");
    gateway.log_line(&["no new connections"]).await;

    let told = Instant::now();
    gateway.signal("TERM");

    assert_eq!(gateway.exit_code().await, Some(0));
    // The client's own patience is longer.
    assert!(told.elapsed() < PATIENCE / 2, "{:?}", told.elapsed());
    assert!(asking.await.expect("no panic").is_err(), "it was cut off");
}

#[tokio::test]
async fn a_connection_without_a_request_holds_up_nothing() {
    let mut gateway = Gateway::start(
        r#"
        server.shutdown_timeout_ms = 60000
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    // One that has been used, in the client's pool, and one that has not.
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let _unused = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");

    gateway.signal("TERM");

    assert_eq!(gateway.exit_code().await, Some(0));
}
