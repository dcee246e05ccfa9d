//! A plugin that fails again and again is not called for a while, and its target says so at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, instance};
use crate::metrics::Exposition;

/// What `answers` is told to answer with.
const GOOD: &str = r#"{"good": true}"#;
const BAD: &str = "no JSON";

/// A gateway whose plugin is paused after three faults, for so long.
async fn gateway(pause_ms: u32) -> Gateway {
    Gateway::start(&format!(
        r#"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        [targets.answers]
        component = "answers.wasm"
        cache_max_ttl_ms = 0
        breaker = {{ faults = 3, pause_ms = {pause_ms} }}
        [targets.echo]
        component = "echo.wasm"
        "#
    ))
    .await
}

/// A request for an instance of a project, that is answered with this.
fn request(project: &str, number: u32, body: &str) -> Value {
    let mut request = instance(json!({"body": body}));
    request["instance-id"] = json!(format!("{project}-{number}"));
    request["project-id"] = json!(project);
    request
}

/// Makes faults for so many instances of a project.
async fn fail(gateway: &Gateway, project: &str, instances: u32) {
    for number in 0..instances {
        let answer = gateway.ask("answers", &request(project, number, BAD)).await;
        assert_eq!(answer.status, 502, "{answer}");
    }
}

async fn state(gateway: &Gateway) -> (u16, Value, String) {
    let ready = gateway.get("/readyz").await;
    let scraped = gateway.ask_admin(Method::GET, "/metrics", "").await;
    let tripped = Exposition::of(&scraped).told("vendordock_breaker_tripped");
    (ready.status, ready.at("/targets/answers"), tripped)
}

#[tokio::test]
async fn after_some_faults_a_target_answers_at_once_with_the_reason_and_when_to_come_back() {
    let gateway = gateway(60_000).await;
    assert_eq!(
        state(&gateway).await,
        (200, json!("serving"), String::new())
    );

    fail(&gateway, "p1", 3).await;
    let refused = gateway.ask("answers", &request("p1", 9, GOOD)).await;

    insta::assert_snapshot!(refused, @r#"503 {"error":{"code":503,"message":"the plugin failed again and again, and is not called for a while","title":"Service Unavailable"}}"#);
    let wait: u32 = refused.header("retry-after").parse().expect("seconds");
    assert!((50..=60).contains(&wait), "{wait}");
    gateway
        .log_line(&[
            refused.request_id(),
            "fault=\"guest\"",
            "the last time with: bad_answer",
        ])
        .await;
    gateway
        .log_line(&["it is given a pause", "pause_ms=60000"])
        .await;
    assert_eq!(
        state(&gateway).await,
        (200, json!("tripped"), "target=answers 1".to_owned())
    );
    assert_eq!(gateway.get("/readyz").await.at("/status"), "degraded");
    assert_eq!(
        gateway.ask("echo", &request("p1", 1, GOOD)).await.status,
        200
    );
}

#[tokio::test]
async fn when_the_pause_is_over_one_call_is_on_trial_and_its_success_ends_it() {
    let gateway = gateway(1).await;
    fail(&gateway, "p1", 3).await;

    // It fails on trial, and has a longer pause; and then it works.
    let failed = gateway
        .ask_until(502, "answers", &request("p1", 10, BAD))
        .await;
    let answered = gateway
        .ask_until(200, "answers", &request("p1", 11, GOOD))
        .await;

    assert_eq!(answered.body, GOOD);
    gateway
        .log_line(&[failed.request_id(), "it is given a pause", "pause_ms=2"])
        .await;
    gateway
        .log_line(&[answered.request_id(), "its pause is over"])
        .await;
    assert_eq!(
        state(&gateway).await,
        (200, json!("serving"), String::new())
    );
}

#[tokio::test]
async fn one_instance_that_a_plugin_cannot_bear_takes_it_from_no_other_and_one_project_from_no_other()
 {
    let gateway = gateway(60_000).await;
    // nova asks six times for one config drive.
    for _ in 0..6 {
        let answer = gateway.ask("answers", &request("p1", 1, BAD)).await;
        assert_eq!(answer.status, 502);
    }
    let other = gateway.ask("answers", &request("p1", 2, GOOD)).await;
    assert_eq!(other.status, 200);

    fail(&gateway, "p1", 3).await;
    let same = gateway.ask("answers", &request("p1", 4, GOOD)).await;
    assert_eq!(same.status, 503);
    let other = gateway.ask("answers", &request("p2", 1, GOOD)).await;
    assert_eq!(other.status, 200);
    let same = gateway.ask("answers", &request("p1", 4, GOOD)).await;
    assert_eq!(same.status, 200, "another project has shown that it works");
}

#[tokio::test]
async fn errors_of_a_plugins_own_choice_do_not_trip_it_and_faults_with_successes_between_them_do_not()
 {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.fails]
        component = "fails.wasm"
        breaker = { faults = 1 }
        [targets.answers]
        component = "answers.wasm"
        breaker = { faults = 2 }
        "#,
    )
    .await;
    for (number, error) in ["upstream", "invalid-request", "internal", "unavailable"]
        .into_iter()
        .enumerate()
    {
        let body = instance(json!({"error": error, "number": number.to_string()}));
        let answer = gateway.ask("fails", &body).await;
        assert!(!answer.body.contains("for a while"), "{answer}");
    }
    for number in 0..6 {
        let body = request("p1", number, if number % 2 == 0 { BAD } else { GOOD });
        let status = gateway.ask("answers", &body).await.status;
        assert_eq!(status, if number % 2 == 0 { 502 } else { 200 });
    }
}

#[tokio::test]
async fn what_is_kept_is_answered_during_the_pause() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.excess = { component = "excess.wasm", breaker = { faults = 1, pause_ms = 60000 } }
        "#,
    )
    .await;
    let (kept, new) = (instance(json!({})), instance(json!({"of": "nothing"})));
    assert_eq!(gateway.ask("excess", &kept).await.status, 200);

    let crashed = gateway
        .ask("excess", &instance(json!({"of": "patience"})))
        .await;

    assert_eq!(crashed.status, 500);
    assert_eq!(gateway.ask("excess", &new).await.status, 503);
    assert_eq!(gateway.ask("excess", &kept).await.to_string(), "200 {}");
}

#[tokio::test]
async fn without_a_breaker_a_plugin_is_called_however_often_it_failed() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.answers = { component = "answers.wasm", breaker = false }
        "#,
    )
    .await;

    fail(&gateway, "p1", 20).await;
    let answer: Answer = gateway.ask("answers", &request("p1", 30, GOOD)).await;
    assert_eq!(answer.status, 200);
}
