//! SIGTERM: what runs may end, nothing new begins, and the exit code says that all is well.

use std::time::Instant;

use serde_json::json;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, instance};
use crate::upstream::Upstream;

#[tokio::test]
async fn a_call_that_runs_when_the_gateway_is_told_to_stop_still_gets_its_answer() {
    for signal in ["TERM", "INT"] {
        let upstream = Upstream::start().await;
        let url = upstream.url();
        let mut gateway = Gateway::start(&format!(
            r#"
            auth.method = "none"
            targets.fetch = {{ component = "fetch.wasm", egress = ["{url}"] }}
            "#,
        ))
        .await;
        let body = instance(json!({"url": url}));

        let (answer, ()) = tokio::join!(gateway.ask("fetch", &body), async {
            let waiting = upstream.next().await;
            gateway.signal(signal);
            gateway.log_line(&["stopping"]).await;
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
        auth.method = "none"
        targets.fetch = {{ component = "fetch.wasm", egress = ["{url}"], timeout_ms = 60000 }}
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
        auth.method = "none"
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
