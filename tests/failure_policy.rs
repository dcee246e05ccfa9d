//! What nova gets where a target fails, as the operator wants it.

use reqwest::Method;
use serde_json::json;

use crate::gateway::{Gateway, instance};

#[tokio::test]
async fn failures_that_are_not_the_callers_are_answered_with_nothing_where_the_operator_says_so() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        [targets.trap]
        component = "trap.wasm"
        on_failure = "empty"
        [targets.fails]
        component = "fails.wasm"
        on_failure = "empty"
        [targets.missing]
        component = "no-such-file.wasm"
        on_failure = "empty"
        [targets.down]
        component = "parts.wasm"
        config.fail = true
        [targets.cloud-init]
        kind = "cloud-init"
        on_failure = "empty"
        compose = [{ target = "down", on_failure = "fail" }]
        "##,
    )
    .await;
    let body = instance(json!({}));
    let mut told = Vec::new();

    for target in ["trap", "missing", "cloud-init"] {
        let answer = gateway.ask(target, &body).await;
        told.push(format!(
            "{target}: {answer} {}",
            answer.header("x-vendordock-failure")
        ));
        gateway
            .log_line(&[answer.request_id(), "answered with nothing", "status=200"])
            .await;
    }
    for error in ["invalid-request", "forbidden", "not-found", "upstream"] {
        let answer = gateway
            .ask("fails", &instance(json!({ "error": error })))
            .await;
        told.push(format!(
            "{error}: {} {}",
            answer.status,
            answer.header("x-vendordock-failure")
        ));
    }
    let nonsense = gateway.ask("trap", &json!("no request")).await;
    told.push(format!("no request: {}", nonsense.status));

    insta::assert_snapshot!(told.join("\n"), @r"
    trap: 200 {} guest
    missing: 200 {} operator
    cloud-init: 200 null upstream
    invalid-request: 400 
    forbidden: 403 
    not-found: 404 
    upstream: 200 upstream
    no request: 400
    ");
    let metrics = gateway.ask_admin(Method::GET, "/metrics", "").await.body;
    let counted = "vendordock_requests_total{cloud=\"default\",target=\"trap\",code=\"200\",fault=\"guest\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_caller_who_is_turned_away_gets_no_empty_answer() {
    let gateway = Gateway::start(
        r##"
        [auth]
        require = "static-token"
        static_tokens.nova = "sha256:4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631"
        [targets.trap]
        component = "trap.wasm"
        on_failure = "empty"
        "##,
    )
    .await;

    let stranger = gateway.ask("trap", &instance(json!({}))).await;
    let nova = gateway
        .ask_as("correct horse", "trap", &instance(json!({})))
        .await;

    assert_eq!(stranger.status, 401, "{stranger}");
    assert_eq!(nova.to_string(), "200 {}");
}
