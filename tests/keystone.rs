//! A keystone that is down, hung or broken, or has something against the gateway itself.

use std::time::{Duration, Instant};

use serde_json::json;
use vendordock_stand_ins::Keystone;

use crate::callers::{gateway, keystone, nova};
use crate::gateway::instance;

#[tokio::test]
async fn the_gateway_renews_its_own_token_when_keystone_has_dropped_it() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let body = instance(json!({}));
    gateway.ask_as(&nova(&keystone), "echo", &body).await;
    assert_eq!((keystone.log_ins(), keystone.validations()), (1, 1));

    keystone.revoke_all_of("vendordock");
    let answer = gateway.ask_as(&nova(&keystone), "echo", &body).await;

    assert_eq!(answer.status, 200);
    // The one that was refused, and the one after it.
    assert_eq!((keystone.log_ins(), keystone.validations()), (2, 3));
}

#[tokio::test]
async fn without_keystone_nobody_new_is_let_in_and_with_it_again_without_a_restart() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "timeout_ms = 500").await;
    let body = instance(json!({}));
    let known = nova(&keystone);
    gateway.ask_as(&known, "echo", &body).await;
    let mut answers = Vec::new();

    keystone.stop().await;
    answers.push((
        "down",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));
    answers.push(("down, known", gateway.ask_as(&known, "echo", &body).await));
    keystone.restart().await;
    answers.push(("up", gateway.ask_as(&nova(&keystone), "echo", &body).await));

    keystone.faults().hang();
    answers.push((
        "hung",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));
    keystone.faults().clear();
    answers.push((
        "well",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));

    keystone.faults().respond_with(500);
    answers.push((
        "broken",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));
    keystone.faults().clear();
    answers.push((
        "well",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));

    keystone.faults().lose_answers(1);
    answers.push((
        "cut off",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));
    answers.push((
        "well",
        gateway.ask_as(&nova(&keystone), "echo", &body).await,
    ));

    let unknown = r#"503 {"error":{"code":503,"message":"the token cannot be checked: keystone gives no answer","title":"Service Unavailable"}}"#;
    let answers: Vec<(&str, String)> = answers
        .into_iter()
        .map(|(when, answer)| match answer.status {
            200 => (when, "200".to_owned()),
            _ => (when, answer.to_string()),
        })
        .collect();
    assert_eq!(
        answers,
        [
            ("down", unknown.to_owned()),
            ("down, known", "200".to_owned()),
            ("up", "200".to_owned()),
            ("hung", unknown.to_owned()),
            ("well", "200".to_owned()),
            ("broken", unknown.to_owned()),
            ("well", "200".to_owned()),
            ("cut off", unknown.to_owned()),
            ("well", "200".to_owned()),
        ]
    );
}

#[tokio::test]
async fn a_keystone_that_is_slower_than_the_target_may_be_costs_no_more_than_the_targets_time() {
    let keystone = keystone().await;
    keystone.faults().hang();
    let gateway = gateway(&keystone, "timeout_ms = 60000").await;
    let started = Instant::now();

    let answer = gateway
        .ask_as(&nova(&keystone), "echo", &instance(json!({})))
        .await;

    assert_eq!(answer.status, 504);
    assert!(started.elapsed() < Duration::from_secs(4), "2 seconds");
}

#[tokio::test]
async fn the_gateways_own_wrong_password_is_its_own_fault_and_not_the_callers() {
    let keystone = Keystone::start().await;
    keystone.add_account("vendordock", "another-secret", "service", &["service"]);
    let gateway = gateway(&keystone, "").await;

    let answer = gateway
        .ask_as(&nova(&keystone), "echo", &instance(json!({})))
        .await;

    insta::assert_snapshot!(answer, @r#"503 {"error":{"code":503,"message":"the token cannot be checked: keystone refuses the gateway's own account","title":"Service Unavailable"}}"#);
    gateway
        .log_line(&[
            answer.request_id(),
            "fault=\"operator\"",
            "401 Unauthorized",
        ])
        .await;
}

#[tokio::test]
async fn a_gateway_that_may_not_validate_tokens_says_so() {
    let keystone = Keystone::start().await;
    keystone.add_account("vendordock", "gateway-secret", "service", &["member"]);
    let gateway = gateway(&keystone, "").await;

    let answer = gateway
        .ask_as(&nova(&keystone), "echo", &instance(json!({})))
        .await;

    insta::assert_snapshot!(answer, @r#"503 {"error":{"code":503,"message":"the token cannot be checked: keystone refuses the gateway's own account","title":"Service Unavailable"}}"#);
    gateway
        .log_line(&[answer.request_id(), "fault=\"operator\"", "403 Forbidden"])
        .await;
}
