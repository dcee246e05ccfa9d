//! One answer for equal requests, and for no others.
//!
//! `echo` answers with the id of the request that it was run for: answers with the same id are from one run.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vendordock_stand_ins::Ipa;

use crate::gateway::{Answer, Gateway, instance};
use crate::join;
use crate::program::PATIENCE;

const ECHO: &str = r#"
    auth.require = "none"
    [targets.echo]
    component = "echo.wasm"
    config = { scope = "instance", ttl_ms = 600000 }
"#;

/// Which run an answer is from.
async fn run(gateway: &Gateway, target: &str, body: &Value) -> String {
    let answer = gateway.ask(target, body).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.at("/context/request_id").to_string()
}

#[tokio::test]
async fn equal_requests_get_the_answer_of_one_run_byte_by_byte() {
    let gateway = Gateway::start(ECHO).await;
    let body = instance(json!({"role": "db"}));
    let ask = || gateway.ask("echo", &body);

    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let later = ask().await;

    let first = a.to_string();
    assert_eq!(a.status, 200);
    assert_eq!(
        [b, c, d, later].map(|answer| answer.to_string()),
        [(); 4].map(|()| first.clone())
    );
}

#[tokio::test]
async fn requests_that_differ_in_anything_get_runs_of_their_own() {
    let gateway = Gateway::start(ECHO).await;
    let body = instance(json!({"role": "db"}));
    let mut runs = vec![run(&gateway, "echo", &body).await];

    for (member, value) in [
        ("instance-id", json!("f5f9d2c4-90a1-4a3e-8a4e-8c5a0d6c3b21")),
        ("project-id", json!("another")),
        ("image-id", json!("")),
        ("hostname", json!("db")),
        ("metadata", json!({"role": "web"})),
        ("metadata", json!({"role": "db", "tier": ""})),
        ("metadata", json!({})),
        ("boot-roles", json!("reader,member")),
        ("boot-roles", json!("")),
        ("availability-zone", json!("az1")),
    ] {
        let mut other = body.clone();
        other[member] = value;
        runs.push(run(&gateway, "echo", &other).await);
    }

    let different: HashSet<&String> = runs.iter().collect();
    assert_eq!(different.len(), runs.len());
    assert_eq!(run(&gateway, "echo", &body).await, runs[0], "still kept");
}

#[tokio::test]
async fn a_request_written_another_way_is_the_same_request() {
    let gateway = Gateway::start(ECHO).await;
    let mut runs = HashSet::new();

    for body in [
        r#"{"instance-id": "i", "project-id": "p", "metadata": {"a": "1", "b": "2"}, "hostname": null}"#,
        r#"{"project-id":"p","metadata":{"b":"2","a":"1"},"instance-id":"i"}"#,
        "{\n \"instance\\u002did\": \"\\u0069\", \"metadata\": {\"b\": \"2\", \"a\": \"1\"},\n \"project-id\": \"p\", \"hostname\": \"\", \"boot-roles\": \"\"}",
    ] {
        let request = gateway.request(Method::POST, "/v1/echo");
        let answer = Answer::to(request.body(body)).await;
        runs.insert(answer.to_string());
    }

    assert_eq!(runs.len(), 1, "{runs:#?}");
}

#[tokio::test]
async fn user_data_that_was_not_granted_makes_no_difference_and_is_nowhere_in_the_answer() {
    let gateway = Gateway::start(ECHO).await;
    let mut body = instance(json!({}));

    let mut answers = Vec::new();
    for user_data in [json!(null), json!("c2VjcmV0"), json!("YW5vdGhlcg==")] {
        body["user-data"] = user_data;
        answers.push(gateway.ask("echo", &body).await);
    }

    assert_eq!(answers[1].to_string(), answers[0].to_string());
    assert_eq!(answers[2].to_string(), answers[0].to_string());
}

#[tokio::test]
async fn the_first_to_ask_with_user_data_that_was_not_granted_does_not_show_it_to_the_plugin() {
    let gateway = Gateway::start(ECHO).await;
    let mut body = instance(json!({}));
    body["user-data"] = json!("c2VjcmV0");

    let answer = gateway.ask("echo", &body).await;

    body["user-data"] = Value::Null;
    assert_eq!(
        (answer.at("/instance/user_data"), answer.at("/raw")),
        (Value::Null, body)
    );
}

#[tokio::test]
async fn user_data_that_was_granted_makes_a_difference() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.echo]
        component = "echo.wasm"
        user_data = true
        config = { scope = "instance", ttl_ms = 600000 }
        "#,
    )
    .await;
    let mut body = instance(json!({}));
    body["user-data"] = json!("c2VjcmV0");

    let one = gateway.ask("echo", &body).await;
    body["user-data"] = json!("YW5vdGhlcg==");
    let another = gateway.ask("echo", &body).await;

    assert_eq!(
        [
            one.at("/instance/user_data"),
            another.at("/instance/user_data")
        ],
        ["secret", "another"]
    );
}

#[tokio::test]
async fn an_answer_is_kept_only_where_the_plugin_permits_it_and_the_operator_does_not_forbid_it() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.no-hint]
        component = "echo.wasm"
        [targets.no-scope]
        component = "echo.wasm"
        config = { scope = "none", ttl_ms = 600000 }
        [targets.no-time]
        component = "echo.wasm"
        config = { scope = "instance", ttl_ms = 0 }
        [targets.forbidden]
        component = "echo.wasm"
        cache_max_ttl_ms = 0
        config = { scope = "instance", ttl_ms = 600000 }
        [targets.permitted]
        component = "echo.wasm"
        config = { scope = "target", ttl_ms = 600000 }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let mut kept = Vec::new();

    for target in ["no-hint", "no-scope", "no-time", "forbidden", "permitted"] {
        let first = run(&gateway, target, &body).await;
        kept.push((target, run(&gateway, target, &body).await == first));
    }

    assert_eq!(
        kept,
        [
            ("no-hint", false),
            ("no-scope", false),
            ("no-time", false),
            ("forbidden", false),
            ("permitted", true),
        ]
    );
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_plugin_says_nor_than_the_operator_allows() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.plugins]
        component = "echo.wasm"
        config = { scope = "instance", ttl_ms = 400 }
        [targets.operators]
        component = "echo.wasm"
        cache_max_ttl_ms = 400
        config = { scope = "instance", ttl_ms = 600000 }
        "#,
    )
    .await;
    let body = instance(json!({}));

    for target in ["plugins", "operators"] {
        let started = Instant::now();
        let first = run(&gateway, target, &body).await;
        while run(&gateway, target, &body).await == first {
            let kept = started.elapsed();
            assert!(kept.as_millis() < 5_000, "{target}: kept for {kept:?}");
        }
        assert!(
            started.elapsed().as_millis() >= 400,
            "{target}: kept at all"
        );
    }
}

#[tokio::test]
async fn what_one_target_answered_is_never_the_answer_of_another() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.blue]
        component = "echo.wasm"
        config = { scope = "target", ttl_ms = 600000, colour = "blue" }
        [targets.red]
        component = "echo.wasm"
        config = { scope = "target", ttl_ms = 600000, colour = "red" }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let mut colours = Vec::new();

    for target in ["blue", "red", "blue", "red"] {
        let answer = gateway.ask(target, &body).await;
        colours.push(answer.at("/config/colour"));
    }

    assert_eq!(colours, ["blue", "red", "blue", "red"]);
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let ipa = Ipa::start().await;
    let configuration = format!("auth.require = \"none\"\n{}", join::target(&ipa));
    let gateway = Gateway::serve(join::directory(&ipa, Ipa::PASSWORD), &configuration).await;
    let body = instance(json!({"ipa_enroll": "true"}));

    ipa.fail_next(4203);
    let failed = gateway.ask("join", &body).await;
    let next = gateway.ask("join", &body).await;

    assert_eq!((failed.status, next.status), (502, 200));
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_end_the_run_for_those_who_wait_or_ask_later() {
    let ipa = Ipa::start().await;
    let configuration = format!("auth.require = \"none\"\n{}", join::target(&ipa));
    let gateway = Gateway::serve(join::directory(&ipa, Ipa::PASSWORD), &configuration).await;
    // A run asks IPA three or four times. The impatient caller is gone after the first.
    ipa.faults().delay(Duration::from_millis(150));
    let alone = instance(json!({"ipa_enroll": "true"}));
    let mut accompanied = alone.clone();
    accompanied["hostname"] = json!("db");
    let impatient = async |body| {
        let request = gateway.request(Method::POST, "/v1/join").json(body);
        let gone = request.timeout(Duration::from_millis(225)).send().await;
        assert!(gone.is_err_and(|error| error.is_timeout()));
    };
    let otp = |fqdn| ipa.otp(fqdn).map(|otp| json!(otp));

    impatient(&alone).await;
    let run_to_its_end = async {
        while otp("web.example.test").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, run_to_its_end)
        .await
        .expect("nobody waits for the run, and it goes on");
    let later = gateway.ask("join", &alone).await;
    let ((), waiting) = tokio::join!(impatient(&accompanied), gateway.ask("join", &accompanied));

    assert_eq!(Some(later.at("/ipaotp")), otp("web.example.test"));
    assert_eq!(Some(waiting.at("/ipaotp")), otp("db.example.test"));
    assert_eq!((ipa.log_ins(), ipa.count("host_add")), (1, 2));
}
