//! Plugins that misbehave: what it costs them, and that it costs nobody else anything.

use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::{Gateway, instance};

#[tokio::test]
async fn a_plugin_that_never_returns_is_ended_at_its_deadline_and_holds_up_nobody() {
    let gateway = Gateway::start(
        r#"
        server.workers = 1
        auth.require = "none"
        targets.spin = { component = "spin.wasm", timeout_ms = 600 }
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let started = Instant::now();

    let (spun, echoed) = tokio::join!(
        async { (gateway.ask("spin", &body).await, started.elapsed()) },
        async { (gateway.ask("echo", &body).await, started.elapsed()) },
    );
    let (again, _) = tokio::join!(gateway.ask("spin", &body), gateway.ask("echo", &body));

    insta::assert_snapshot!(spun.0, @r#"504 {"error":{"code":504,"message":"the plugin exceeded the time that this target has (timeout_ms)","title":"Gateway Timeout"}}"#);
    assert_eq!(again.to_string(), spun.0.to_string());
    assert_eq!(echoed.0.status, 200);
    assert!(echoed.1 < spun.1, "echo waited for spin");
    gateway
        .log_line(&[spun.0.request_id(), "fault=\"guest\"", "at its deadline"])
        .await;
}

#[tokio::test]
async fn a_call_that_finds_no_place_in_its_time_is_told_to_come_back() {
    let gateway = Gateway::start(
        r#"
        engine.concurrent_calls = 1
        auth.require = "none"
        targets.spin = { component = "spin.wasm", timeout_ms = 3000 }
        targets.echo = { component = "echo.wasm", timeout_ms = 100, cache_max_ttl_ms = 0 }
        "#,
    )
    .await;
    let body = instance(json!({}));

    let answer = tokio::select! {
        spun = gateway.ask("spin", &body) => panic!("echo always found a place: {spun}"),
        answer = gateway.ask_until(503, "echo", &body) => answer,
    };

    assert_eq!(answer.header("retry-after"), "1");
    insta::assert_snapshot!(answer, @r#"503 {"error":{"code":503,"message":"too many calls of this target are running","title":"Service Unavailable"}}"#);
}

#[tokio::test]
async fn a_plugin_that_takes_memory_without_end_is_stopped_at_its_limit() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.grow = { component = "grow.wasm", memory_bytes = 16777216 }
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let body = instance(json!({}));

    let (grown, echoed) = tokio::join!(gateway.ask("grow", &body), gateway.ask("echo", &body));
    let again = gateway.ask("grow", &body).await;

    insta::assert_snapshot!(grown, @r#"500 {"error":{"code":500,"message":"the plugin exceeded a limit that this target has (memory_bytes)","title":"Internal Server Error"}}"#);
    assert_eq!((again.status, echoed.status), (500, 200));
    gateway
        .log_line(&[grown.request_id(), "the plugin trapped"])
        .await;
}

#[tokio::test]
async fn a_plugin_that_dies_takes_its_own_request_with_it_and_no_other() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.trap = { component = "trap.wasm" }
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let mut answers = Vec::new();

    for how in ["unreachable", "panic-literal", "stack-overflow"] {
        let body = instance(json!({"how": how}));
        let (died, echoed) = tokio::join!(gateway.ask("trap", &body), gateway.ask("echo", &body));
        answers.push((how, died.to_string(), echoed.status));
        gateway
            .log_line(&[died.request_id(), "fault=\"guest\"", "the plugin trapped"])
            .await;
    }

    let fixed = r#"500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}"#;
    assert_eq!(
        answers,
        [
            ("unreachable", fixed.to_owned(), 200),
            ("panic-literal", fixed.to_owned(), 200),
            ("stack-overflow", fixed.to_owned(), 200),
        ]
    );
    gateway
        .log_line(&["plugin panicked", "told to panic"])
        .await;
}

#[tokio::test]
async fn each_error_of_a_plugin_has_its_status_and_only_those_below_500_show_their_text() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.fails = { component = "fails.wasm" }
        "#,
    )
    .await;
    let mut answers = Vec::new();

    for (error, with) in [
        ("invalid-request", "no such flavour"),
        ("forbidden", "not for this project"),
        ("not-found", "nobody knows it"),
        ("conflict", "it was renamed"),
        ("throttled", "2001"),
        ("misconfigured", "text-for-the-operator"),
        ("internal", "text-for-the-operator"),
        ("upstream", "text-for-the-operator"),
        ("unavailable", "2000"),
        ("unavailable", "unknown how long"),
        ("upstream-timeout", "text-for-the-operator"),
    ] {
        let body = instance(json!({"error": error, "with": with}));
        let answer = gateway.ask("fails", &body).await;
        let wait = answer.header("retry-after");
        answers.push(format!("{error} [{wait}] {answer}"));
        if answer.status >= 500 && with.starts_with("text") {
            gateway.log_line(&[answer.request_id(), with]).await;
        }
    }

    insta::assert_snapshot!(answers.join("\n"), @r#"
    invalid-request [] 400 {"error":{"code":400,"message":"/metadata/error: no such flavour","title":"Bad Request"}}
    forbidden [] 403 {"error":{"code":403,"message":"not for this project","title":"Forbidden"}}
    not-found [] 404 {"error":{"code":404,"message":"nobody knows it","title":"Not Found"}}
    conflict [] 409 {"error":{"code":409,"message":"it was renamed","title":"Conflict"}}
    throttled [3] 429 {"error":{"code":429,"message":"the plugin asks to wait","title":"Too Many Requests"}}
    misconfigured [] 500 {"error":{"code":500,"message":"the target's configuration is at fault: the gateway's log says where","title":"Internal Server Error"}}
    internal [] 500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}
    upstream [] 502 {"error":{"code":502,"message":"a service behind the plugin failed","title":"Bad Gateway"}}
    unavailable [2] 503 {"error":{"code":503,"message":"a service behind the plugin is not available","title":"Service Unavailable"}}
    unavailable [] 503 {"error":{"code":503,"message":"a service behind the plugin is not available","title":"Service Unavailable"}}
    upstream-timeout [] 504 {"error":{"code":504,"message":"a service behind the plugin was too slow","title":"Gateway Timeout"}}
    "#);
}

#[tokio::test]
async fn a_text_of_a_plugin_is_one_short_line() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.fails = { component = "fails.wasm" }
        "#,
    )
    .await;
    let text = format!("first line\nERROR forged\u{1b}[31m{}", "x".repeat(10_000));
    let body = instance(json!({"error": "not-found", "with": text}));

    let answer = gateway.ask("fails", &body).await;

    let message = answer.at("/error/message");
    let message = message.as_str().expect("a text");
    assert!(
        message.starts_with("first line ERROR forged [31mxxx"),
        "{message}"
    );
    assert!(message.len() < 600, "{} bytes", message.len());
    gateway.log_line(&[answer.request_id(), "forged"]).await;
}

#[tokio::test]
async fn an_answer_that_would_break_a_guest_does_not_reach_it() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.answers = { component = "answers.wasm", response_bytes = 200 }
        "#,
    )
    .await;
    let fixed = r#"502 {"error":{"code":502,"message":"the plugin's answer would break a guest and is not handed on","title":"Bad Gateway"}}"#;
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(200));
    let deep = r#"{"a":"#.repeat(33) + "1" + &"}".repeat(33);

    for bad in [
        "",
        "no json",
        "[]",
        "null",
        r#""text""#,
        "{",
        "{} {}",
        r#"{"a": 1, "a": 2}"#,
        r#"{"a": NaN}"#,
        r#"{"a": "\ud800"}"#,
        r#"{"a": 123456789012345678901234567890}"#,
        &deep,
        &long,
    ] {
        let answer = gateway
            .ask("answers", &instance(json!({"body": bad})))
            .await;
        assert_eq!(answer.to_string(), fixed, "{bad}");
        gateway
            .log_line(&[answer.request_id(), "fault=\"guest\"", "not handed on"])
            .await;
    }
}

#[tokio::test]
async fn a_good_answer_is_handed_on_as_the_plugin_wrote_it() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.answers = { component = "answers.wasm" }
        "#,
    )
    .await;

    for good in [
        "{}",
        " { \"b\": 1.50, \"a\": [true, null, -7e2], \"\u{e4}\": \"\\u00e4\" }\n",
    ] {
        let answer = gateway
            .ask("answers", &instance(json!({"body": good})))
            .await;
        assert_eq!(answer.to_string(), format!("200 {good}"));
    }
}

#[tokio::test]
async fn a_plugin_is_told_its_target_its_budget_and_its_configuration() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.site-a]
        component = "echo.wasm"
        timeout_ms = 2500
        [targets.site-a.config]
        zones = ["a1", "a2"]
        limits = { disks = 4, share = 0.5 }
        "#,
    )
    .await;

    let answer = gateway.ask("site-a", &instance(json!({}))).await;

    let budget_ms = answer.at("/context/budget_ms").as_u64().expect("a number");
    assert!((1..=2500).contains(&budget_ms), "{budget_ms}");
    assert_eq!(
        [
            answer.at("/context/target"),
            answer.at("/context/traceparent"),
            answer.at("/config")
        ],
        [
            json!("site-a"),
            Value::Null,
            json!({"zones": ["a1", "a2"], "limits": {"disks": 4, "share": 0.5}}),
        ]
    );
}

#[tokio::test]
async fn without_address_space_for_a_pool_the_gateway_says_so_and_serves() {
    let sixteen_gib = 16 << 20;
    let gateway = Gateway::start_within(
        sixteen_gib,
        r#"
        auth.require = "none"
        server.workers = 2
        targets.echo.component = "echo.wasm"
        "#,
    )
    .await;

    let answer = gateway.ask("echo", &instance(json!({}))).await;

    assert_eq!(answer.status, 200);
    gateway
        .log_line(&["WARN", "memory for plugin calls is allocated on demand"])
        .await;
}
