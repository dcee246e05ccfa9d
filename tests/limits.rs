//! What one call may take: each limit has a plugin that meets it, is named in the log with its key, and costs one
//! request.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Gateway, instance};
use crate::metrics::Exposition;
use crate::program::Directory;

/// A configuration with these targets, and metrics.
fn with_metrics(targets: &str) -> String {
    format!("auth.require = \"none\"\nadmin.listen = \"127.0.0.1:0\"\n{targets}")
}

/// How the plugin's calls ended, in the words of the metrics.
async fn outcomes(gateway: &Gateway) -> String {
    let scraped = gateway.ask_admin(Method::GET, "/metrics", "").await;
    Exposition::of(&scraped).told("vendordock_plugin_calls_total")
}

fn failed(key: &str) -> String {
    format!(
        r#"500 {{"error":{{"code":500,"message":"the plugin exceeded a limit that this target has ({key})","title":"Internal Server Error"}}}}"#
    )
}

#[tokio::test]
async fn each_limit_that_ends_a_call_is_named_with_its_key_in_the_answer_the_log_and_the_metrics() {
    let directory = Directory::new().with("key", "secret of the target\n");
    let configuration = with_metrics(
        r#"
        [targets.grow]
        component = "grow.wasm"
        memory_bytes = 16777216
        [targets.excess]
        component = "excess.wasm"
        handles = 50
        host_call_bytes = 1048576
        egress = ["https://upstream.example.test"]
        [targets.excess.credentials.key]
        secret = { file = "key" }
        origins = ["https://upstream.example.test"]
        "#,
    );
    let gateway = Gateway::serve(directory, &configuration).await;
    let overflowing = r#"500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}"#;

    for (target, metadata, answer, logged) in [
        (
            "grow",
            json!({}),
            failed("memory_bytes"),
            "since it was refused more memory (memory_bytes = 16777216)",
        ),
        (
            "excess",
            json!({"of": "handles"}),
            failed("handles"),
            "since it opened more resources than it may hold (handles = 50)",
        ),
        (
            "excess",
            json!({"of": "copies"}),
            failed("host_call_bytes"),
            "since it gave the gateway more to copy than it may at once (host_call_bytes = 1048576)",
        ),
        (
            "excess",
            json!({"of": "depth"}),
            overflowing.to_owned(),
            "since it called itself too deep, and its stack overflowed",
        ),
    ] {
        let told = gateway.ask(target, &instance(metadata)).await;
        assert_eq!(told.to_string(), answer, "{target}");
        gateway
            .log_line(&[told.request_id(), "fault=\"guest\"", logged])
            .await;
    }

    insta::assert_snapshot!(outcomes(&gateway).await, @r#"
    outcome=handles target=excess 1
    outcome=host_call_bytes target=excess 1
    outcome=memory target=grow 1
    outcome=stack target=excess 1
    "#);
}

#[tokio::test]
async fn a_plugin_that_computes_for_too_long_is_ended_although_it_has_time_left() {
    let gateway = Gateway::start(&with_metrics(
        r#"
        targets.spin = { component = "spin.wasm", timeout_ms = 60000, cpu_time_ms = 100 }
        "#,
    ))
    .await;

    let spun = gateway.ask("spin", &instance(json!({}))).await;

    insta::assert_snapshot!(spun, @r#"504 {"error":{"code":504,"message":"the plugin exceeded a limit that this target has (cpu_time_ms)","title":"Gateway Timeout"}}"#);
    gateway
        .log_line(&[
            spun.request_id(),
            "fault=\"guest\"",
            "since it exceeded its CPU time (cpu_time_ms = 100)",
        ])
        .await;
    assert_eq!(outcomes(&gateway).await, "outcome=cpu_time target=spin 1");
}

#[tokio::test]
async fn a_plugin_that_is_larger_than_its_target_allows_is_not_served_and_the_log_says_which_key() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        targets.instances = { component = "echo.wasm", instances = 1 }
        targets.tables = { component = "echo.wasm", table_elements = 1 }
        targets.memory = { component = "echo.wasm", memory_bytes = 65536 }
        "#,
    )
    .await;

    for (target, logged) in [
        (
            "instances",
            "it consists of too many core instances (instances = 1)",
        ),
        (
            "tables",
            "it was refused more elements in its tables (table_elements = 1)",
        ),
        (
            "memory",
            "it was refused more memory (memory_bytes = 65536)",
        ),
    ] {
        gateway
            .log_line(&[
                "not serving",
                &format!("vendordata.target={target} "),
                logged,
            ])
            .await;
        assert_eq!(gateway.ask(target, &instance(json!({}))).await.status, 503);
    }
    assert_eq!(gateway.ask("echo", &instance(json!({}))).await.status, 200);
}

#[tokio::test]
async fn what_a_plugin_could_not_keep_is_no_use_to_the_next_call() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        engine.concurrent_calls = 1
        [targets.trap]
        component = "trap.wasm"
        [targets.spin]
        component = "spin.wasm"
        timeout_ms = 200
        [targets.echo]
        component = "echo.wasm"
        cache_max_ttl_ms = 0
        "#,
    )
    .await;
    let body = instance(json!({}));
    let good = gateway.ask("echo", &body).await;

    // With one place in the pool, each of these calls stands where the one before it died.
    for _ in 0..3 {
        assert_eq!(gateway.ask("trap", &body).await.status, 500);
        assert_eq!(gateway.ask("spin", &body).await.status, 504);
        let again = gateway.ask("echo", &body).await;
        assert_eq!(again.status, 200);
        assert_eq!(again.at("/instance"), good.at("/instance"));
    }
}

#[tokio::test]
async fn a_plugin_writes_so_many_lines_to_the_log_and_no_more() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.lines]
        component = "excess.wasm"
        log_lines = 5
        [targets.text]
        component = "excess.wasm"
        log_bytes = 3000
        "#,
    )
    .await;
    let lines = gateway
        .ask("lines", &instance(json!({"of": "lines"})))
        .await;
    let text = gateway.ask("text", &instance(json!({"of": "text"}))).await;
    assert_eq!((lines.status, text.status), (200, 200));

    for (answer, dropped) in [(&lines, "dropped=995"), (&text, "dropped=98")] {
        let parts = [answer.request_id(), "more lines than one call may", dropped];
        gateway.log_line(&parts).await;
    }
    let log = gateway.written().await;
    let count = |text: &str| log.matches(text).count();
    assert_eq!((count("line number"), count("text number")), (5, 2));
}

#[tokio::test]
async fn many_calls_together_cannot_flood_the_log_either() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.lines = { component = "excess.wasm", log_lines = 2, cache_max_ttl_ms = 0 }
        "#,
    )
    .await;
    let body = instance(json!({"of": "lines"}));
    let started = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(gateway.ask("lines", &body).await.status, 200);
    }
    let seconds = started.elapsed().as_secs() as usize + 2;

    let log = gateway.written().await;
    let lines = log.matches("line number").count();
    // Some of the twenty of each second say how many were left out.
    assert!(
        (10..=20 * seconds).contains(&lines),
        "{lines} in {seconds} s"
    );
}

#[tokio::test]
async fn a_line_of_a_plugin_is_one_line_and_its_fields_are_one_value() {
    for format in ["human", "json"] {
        let gateway = Gateway::start(&format!(
            r#"
            auth.require = "none"
            log.format = "{format}"
            targets.excess = {{ component = "excess.wasm" }}
            "#
        ))
        .await;
        let answer = gateway
            .ask("excess", &instance(json!({"of": "forgery"})))
            .await;
        let line = gateway.log_line(&[answer.request_id(), "forged"]).await;

        let log = gateway.written().await;
        assert!(
            !log.lines().any(|line| line.starts_with("2026-11-20")),
            "{log}"
        );
        assert!(!log.contains('\u{1b}'), "{log}");
        if format == "json" {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(line["level"], "WARN");
            assert_eq!(line["target"], "plugin");
            assert_eq!(line["message"], "well 2026-11-20 ERROR forged [31m");
            let fields = line["fields"].as_str().expect("one text");
            let fields: Value = serde_json::from_str(fields).expect("JSON");
            assert_eq!(fields["vendordata.target"], "another");
            assert_eq!(fields["quote"], "\" broken=\"yes 2026-11-20 ERROR forged");
        }
    }
}

#[tokio::test]
async fn a_credential_that_a_plugin_logs_or_gives_for_a_reason_is_covered() {
    let directory = Directory::new().with("key", "secret of the target\n");
    let gateway = Gateway::serve(
        directory,
        r#"
        auth.require = "none"
        [targets.excess]
        component = "excess.wasm"
        egress = ["https://upstream.example.test"]
        [targets.excess.credentials.key]
        secret = { file = "key" }
        origins = ["https://upstream.example.test"]
        "#,
    )
    .await;
    let body = instance(json!({"of": "secret", "secret": "secret of the target"}));

    let answer = gateway.ask("excess", &body).await;

    gateway
        .log_line(&[
            answer.request_id(),
            "cannot log in with ***",
            r#"{"password":"***"}"#,
        ])
        .await;
    let body = instance(json!({"of": "words", "secret": "secret of the target"}));
    let refused = gateway.ask("excess", &body).await;
    assert_eq!(refused.at("/error/message"), "no log-in with ***");
    assert!(!gateway.written().await.contains("secret of the target"));
}

#[test]
fn check_names_the_limit_that_is_too_low_for_a_plugin_and_those_that_are_too_high_for_anybody() {
    let check = |targets: &str| {
        let configuration = format!("auth.require = \"none\"\n{targets}");
        let directory = Directory::new().with("vendordock.toml", configuration);
        directory
            .run(&["check", "--config", "vendordock.toml"])
            .stderr
    };

    let low = check("[targets.echo]\ncomponent = \"echo.wasm\"\nmemory_bytes = 65536");
    insta::assert_snapshot!(low, @"vendordock.toml:4: targets.echo.memory_bytes: component echo.wasm: its `describe` failed: the plugin trapped, since it was refused more memory (memory_bytes = 65536): memory minimum size of 32 pages exceeds memory limits");
    let high = check(
        r#"[targets.echo]
component = "echo.wasm"
memory_bytes = 2147483648
table_elements = 100001
instances = 101
handles = 1000000
host_call_bytes = 1073741824
response_bytes = 2097152
response_depth = 101
"#,
    );
    insta::assert_snapshot!(high, @r#"
    vendordock.toml:4: targets.echo.memory_bytes: a place in the engine's pool has no more; at most 1073741824
    vendordock.toml:5: targets.echo.table_elements: a place in the engine's pool has no more; at most 100000
    vendordock.toml:6: targets.echo.instances: a place in the engine's pool has no more; at most 100
    vendordock.toml:7: targets.echo.handles: so much of the gateway's own memory for one call is no limit; at most 100000
    vendordock.toml:8: targets.echo.host_call_bytes: so much of the gateway's own memory for one call is no limit; at most 134217728
    vendordock.toml:9: targets.echo.response_bytes: nova keeps six copies of an answer in one config drive; at most 1048576
    vendordock.toml:10: targets.echo.response_depth: some guest's JSON reader gives up beyond; at most 100
    "#);
    let breaker =
        check("[targets.echo]\ncomponent = \"echo.wasm\"\nbreaker = { faults = 0, pause = 1 }\n");
    insta::assert_snapshot!(breaker, @r#"
    vendordock.toml:4: targets.echo.breaker.faults: invalid value: integer `0`, expected a nonzero u32
    vendordock.toml:4: targets.echo.breaker.pause: unknown key `pause`; did you mean `pause_ms`?
    "#);
}
