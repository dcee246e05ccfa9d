//! What the log tells of a plugin that died: where it was, and what it said last, without what it was told in
//! confidence.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;

/// The line for the plugin's author.
async fn crash(gateway: &Gateway, answer: &Answer) -> Value {
    let line = gateway
        .log_line(&[answer.request_id(), "\"target\":\"plugin::crash\""])
        .await;
    serde_json::from_str(&line).expect("JSON")
}

#[tokio::test]
async fn a_crash_is_told_with_the_names_of_the_functions_that_were_running() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        log.format = "json"
        targets.words = { component = "last-words.wasm" }
        targets.spin = { component = "spin.wasm", timeout_ms = 300 }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let (died, spun) = tokio::join!(gateway.ask("words", &body), gateway.ask("spin", &body));
    assert_eq!((died.status, spun.status), (500, 504));

    let died = crash(&gateway, &died).await;
    assert_eq!(died["level"], "ERROR");
    assert_eq!(
        died["message"],
        "the plugin was stopped: wasm trap: wasm `unreachable` instruction executed"
    );
    let backtrace = died["backtrace"].as_str().expect("a text");
    let names: Vec<&str> = backtrace
        .lines()
        .filter_map(|line| line.split_once(": ")?.1.rsplit_once(" at 0x"))
        .map(|(name, _offset)| name)
        .collect();
    assert!(names.contains(&"test_last_words::die_of"), "{backtrace}");
    assert_eq!(
        names.last(),
        Some(&"vendordock:vendordata/provider@0.1.0#provide")
    );
    assert_eq!(died["printed"], Value::Null);

    let spun = crash(&gateway, &spun).await;
    let backtrace = spun["backtrace"].as_str().expect("a text");
    assert!(backtrace.contains("#provide at 0x"), "{backtrace}");
}

#[tokio::test]
async fn what_a_plugin_printed_last_is_told_without_credentials_and_the_tenants_words() {
    let directory = Directory::new().with("key", "hunter2 of the target\n");
    let gateway = Gateway::serve(
        directory,
        r#"
        auth.require = "none"
        log.format = "json"
        [targets.words]
        component = "last-words.wasm"
        user_data = true
        egress = ["https://upstream.example.test"]
        [targets.words.credentials.key]
        secret = { file = "key" }
        origins = ["https://upstream.example.test"]
        [targets.words.config]
        filler = 1
        words = """
Traceback (most recent call last):\r
  File "join.py", line 7, in log_in\u001b[31m
LogInFailed: admin:hunter2 of the target (YWRtaW46aHVudGVyMiBvZiB0aGUgdGFyZ2V0) p=hunter2+of+the+target
ValueError: b'#cloud-config\\npassword: xyzzy\\n' of Tenant-Value-7
"""
        "#,
    )
    .await;
    let mut body = instance(json!({"note": "Tenant-Value-7", "n": "7"}));
    body["user-data"] = json!(BASE64_STANDARD.encode("#cloud-config\npassword: xyzzy\n"));
    let answer = gateway.ask("words", &body).await;

    let died = crash(&gateway, &answer).await;
    insta::assert_snapshot!(died["printed"].as_str().expect("a text"), @r#"
    line 0
    Traceback (most recent call last):
      File "join.py", line 7, in log_in[31m
    LogInFailed: admin:*** (YWRtaW46***) p=***
    ValueError: b'#***-***\n***: ***\n' of ***-***-7
    "#);
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_hidden_as_the_one_before_it_is() {
    let directory = Directory::new()
        .with("key", "hunter2 of the target\n")
        .with("front", "a header for the front\n");
    let gateway = Gateway::serve(
        directory,
        r#"
        auth.require = "none"
        log.format = "json"
        [targets.words]
        component = "last-words.wasm"
        egress = ["https://upstream.example.test"]
        [targets.words.credentials.key]
        secret = { file = "key" }
        origins = ["https://upstream.example.test"]
        [targets.words.headers.front]
        origins = ["https://upstream.example.test"]
        set = { X-Front = { file = "front" } }
        [targets.words.config]
        filler = 0
        words = """
key: hunter2 of the target, then swordfish of the target
front: a header for the front, then what is newer there
"""
        "#,
    )
    .await;
    let printed = async || {
        let answer = gateway.ask("words", &instance(json!({}))).await;
        let died = crash(&gateway, &answer).await;
        died["printed"].as_str().expect("a text").to_owned()
    };

    insta::assert_snapshot!(printed().await, @r#"
    key: ***, then swordfish of the target
    front: ***, then what is newer there
    "#);
    for (file, content) in [
        ("key", "swordfish of the target\n"),
        ("front", "what is newer there\n"),
    ] {
        gateway.write(file, content);
        gateway
            .log_line(&["the secret was replaced", &format!("\"from\":\"{file}\"")])
            .await;
    }
    insta::assert_snapshot!(printed().await, @r#"
    key: ***, then ***
    front: ***, then ***
    "#);
}

#[tokio::test]
async fn of_what_a_plugin_printed_the_last_16_kibibytes_are_told() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        log.format = "json"
        targets.words = { component = "last-words.wasm", config = { filler = 20000, words = "the end" } }
        "#,
    )
    .await;
    let answer = gateway.ask("words", &instance(json!({}))).await;
    assert_eq!(answer.status, 500);

    let died = crash(&gateway, &answer).await;
    let printed = died["printed"].as_str().expect("a text");
    assert!(printed.ends_with("line 19999\nthe end"), "{printed}");
    assert!(
        (16_000..17_000).contains(&printed.len()),
        "{}",
        printed.len()
    );
}
