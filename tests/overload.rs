//! More requests than a target can answer: told so at once, and no other target notices.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{Answer, Gateway, instance};
use crate::upstream::{Upstream, Waiting};

/// One call may run and one may wait; answers are kept.
async fn gateway(url: &str) -> Gateway {
    Gateway::start(&format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        timeout_ms = 20000
        concurrent_calls = 1
        waiting_calls = 1
        [targets.echo]
        component = "echo.wasm"
        concurrent_calls = 1
        waiting_calls = 0
        "#
    ))
    .await
}

/// A request that differs from all others.
fn request(url: &str, number: usize) -> Value {
    instance(json!({"url": url, "number": number.to_string(), "keep_ms": "600000"}))
}

#[tokio::test]
async fn past_its_bounds_a_target_refuses_at_once_and_another_answers() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let gateway = gateway(&url).await;
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let post = gateway.request(Method::POST, "/v1/fetch");
        asking.spawn(Answer::to(post.json(&request(&url, number))));
    }
    let running = upstream.next().await;
    let started = Instant::now();
    // One runs and one waits; the six others are told.
    let mut refused = Vec::new();
    while refused.len() < 6 {
        let answer = asking.join_next().await.expect("eight were asked");
        refused.push(answer.expect("no panic"));
    }
    let took = started.elapsed();
    let other = gateway.ask("echo", &instance(json!({}))).await;
    running.answer("200 OK", &[], "1").await;
    upstream.next().await.answer("200 OK", &[], "2").await;

    assert!(took < Duration::from_secs(1), "{took:?}");
    for answer in &refused {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(other.status, 200);
    for answer in asking.join_all().await {
        assert_eq!(answer.status, 200);
    }
    gateway
        .log_line(&["fault=\"host\"", "as many calls run and wait"])
        .await;
}

#[tokio::test]
async fn an_answer_from_the_cache_is_not_refused_for_load() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        timeout_ms = 20000
        concurrent_calls = 1
        waiting_calls = 0
        "#
    ))
    .await;
    let known = request(&url, 0);
    let (first, ()) = tokio::join!(gateway.ask("fetch", &known), async {
        upstream.next().await.answer("200 OK", &[], "known").await;
    });
    assert_eq!(first.status, 200);

    let post = gateway.request(Method::POST, "/v1/fetch");
    let busy = tokio::spawn(Answer::to(post.json(&request(&url, 1))));
    let running: Waiting = upstream.next().await;
    let unknown = gateway.ask("fetch", &request(&url, 2)).await;
    let again = gateway.ask("fetch", &known).await;
    // The same request, written in another way.
    let pretty = serde_json::to_string_pretty(&known).expect("JSON");
    let rewritten = gateway.request(Method::POST, "/v1/fetch").body(pretty);
    let rewritten = Answer::to(rewritten).await;
    running.answer("200 OK", &[], "late").await;

    assert_eq!(unknown.status, 503);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!((rewritten.status, &rewritten.body), (200, &first.body));
    assert_eq!(busy.await.expect("no panic").status, 200);
}
