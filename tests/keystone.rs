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

#[tokio::test]
async fn while_keystone_is_down_known_tokens_stay_good_for_the_grace_and_not_beyond_their_end() {
    let keystone = keystone().await;
    let asked_each_time = gateway(&keystone, "token_cache_ms = 0\ngrace_ms = 600000").await;
    let without_grace = gateway(&keystone, "token_cache_ms = 0\ngrace_ms = 0").await;
    let body = instance(json!({}));
    let (lasting, known) = (nova(&keystone), nova(&keystone));
    let short = keystone.issue("nova", "service", &["service"], Duration::from_secs(3));
    let ends = Instant::now() + Duration::from_secs(3);
    for gateway in [&asked_each_time, &without_grace] {
        for token in [&lasting, &known, &short] {
            assert_eq!(gateway.ask_as(token, "echo", &body).await.status, 200);
        }
    }
    keystone.revoke(&known);

    for break_it in ["stop", "500"] {
        match break_it {
            "stop" => keystone.stop().await,
            _ => keystone.faults().respond_with(500),
        }
        let mut answers = Vec::new();
        for (gateway, token) in [
            (&asked_each_time, &lasting),
            (&without_grace, &lasting),
            (&asked_each_time, &nova(&keystone)),
        ] {
            answers.push(gateway.ask_as(token, "echo", &body).await.status);
        }
        assert_eq!(answers, [200, 503, 503], "{break_it}");
        // What keystone would refuse, if it could.
        let revoked = asked_each_time.ask_as(&known, "echo", &body).await;
        assert_eq!(revoked.status, 200, "{break_it}");
        let mut status = 200;
        while status == 200 {
            assert!(Instant::now() < ends + Duration::from_secs(1), "{break_it}");
            status = asked_each_time.ask_as(&short, "echo", &body).await.status;
        }
        keystone.restart().await;
    }

    keystone.faults().clear();
    // Where keystone rests after its last failure, a known token passes without being asked about.
    let asking =
        async { while asked_each_time.ask_as(&known, "echo", &body).await.status != 401 {} };
    tokio::time::timeout(crate::program::PATIENCE, asking)
        .await
        .expect("keystone is asked again, and refuses");
    asked_each_time.log_line(&["keystone answers again"]).await;
}

#[tokio::test]
async fn a_slow_keystone_does_not_hold_up_a_token_that_was_good() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "token_cache_ms = 0\ntimeout_ms = 60000").await;
    let token = nova(&keystone);
    let body = instance(json!({}));
    gateway.ask_as(&token, "echo", &body).await;

    keystone.faults().hang();
    let started = Instant::now();
    let answer = gateway.ask_as(&token, "echo", &body).await;

    assert_eq!(answer.status, 200);
    assert!(started.elapsed() < Duration::from_millis(1_900), "of 2 s");
}

#[tokio::test]
async fn a_refused_token_is_not_asked_about_again_for_a_while() {
    let keystone = keystone().await;
    let remembering = gateway(&keystone, "rejected_cache_ms = 600000").await;
    let body = instance(json!({}));
    for _ in 0..3 {
        let answer = remembering.ask_as("gAAAAABgarbage", "echo", &body).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(keystone.validations(), 1);

    let forgetting = gateway(&keystone, "rejected_cache_ms = 0").await;
    for _ in 0..3 {
        forgetting.ask_as("gAAAAABgarbage", "echo", &body).await;
    }
    assert_eq!(keystone.validations(), 4);
}

#[tokio::test]
async fn no_number_of_strangers_makes_the_gateway_forget_novas_token() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "[cache]\ntokens = 10").await;
    let token = nova(&keystone);
    let body = instance(json!({}));
    gateway.ask_as(&token, "echo", &body).await;

    for number in 0..50 {
        let garbage = format!("gAAAAAB{number}");
        assert_eq!(gateway.ask_as(&garbage, "echo", &body).await.status, 401);
        let member = keystone.issue("plain", "service", &["member"], Duration::from_secs(60));
        assert_eq!(gateway.ask_as(&member, "echo", &body).await.status, 403);
    }
    let validations = keystone.validations();
    let again = gateway.ask_as(&token, "echo", &body).await;

    assert_eq!(again.status, 200);
    assert_eq!(keystone.validations(), validations);
}

#[tokio::test]
async fn a_new_password_of_the_gateway_is_read_without_a_restart() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "rejected_cache_ms = 0").await;
    let body = instance(json!({}));
    gateway.ask_as(&nova(&keystone), "echo", &body).await;

    keystone.add_account("vendordock", "another-secret", "service", &["service"]);
    keystone.forget_password("vendordock", "gateway-secret");
    keystone.revoke_all_of("vendordock");
    let before = gateway.ask_as(&nova(&keystone), "echo", &body).await;
    gateway.write("password", "another-secret\n");
    let after = gateway.ask_as(&nova(&keystone), "echo", &body).await;

    assert_eq!((before.status, after.status), (503, 200));
}
