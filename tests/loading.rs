//! Components that cannot serve: said at start with the reason, while the others serve.

use serde_json::json;

use crate::gateway::{Gateway, instance};
use crate::program::Directory;

/// Why a target does not serve, from the log.
async fn reason(gateway: &Gateway, target: &str) -> String {
    let field = format!(" vendordata.target={target} vendordata.cloud=default");
    let line = gateway
        .log_line(&["not serving this target: ", &field])
        .await;
    let (_, line) = line.split_once("this target: ").expect("it was found");
    line.replace(&field, "")
}

#[tokio::test]
async fn a_component_that_cannot_serve_is_reported_with_the_reason_and_the_others_serve() {
    let directory = Directory::new();
    let echo = std::fs::read(directory.path("echo.wasm")).expect("it is built");
    let engine = wasmtime::Engine::default();
    let directory = directory
        .with("text.wasm", "#!/bin/sh\n")
        .with("module.wasm", b"\0asm\x01\0\0\0")
        .with("empty.wasm", b"\0asm\x0d\0\x01\0")
        // It announces a section of 127 bytes and ends after 4.
        .with("truncated.wasm", b"\0asm\x0d\0\x01\0\x01\x7f\0asm")
        .with(
            "precompiled.wasm",
            engine.precompile_component(&echo).expect("it compiles"),
        );
    let gateway = Gateway::serve(
        directory,
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        targets.text = { component = "text.wasm" }
        targets.module = { component = "module.wasm" }
        targets.empty = { component = "empty.wasm" }
        targets.truncated = { component = "truncated.wasm" }
        targets.precompiled = { component = "precompiled.wasm" }
        targets.missing = { component = "missing.wasm" }
        targets.directory = { component = "." }
        targets.foreign = { component = "foreign.wasm" }
        "#,
    )
    .await;

    let readiness = gateway.get("/readyz").await;
    insta::assert_snapshot!(readiness, @r#"200 {"status":"degraded","targets":{"directory":"failed","echo":"serving","empty":"failed","foreign":"failed","missing":"failed","module":"failed","precompiled":"failed","text":"failed","truncated":"failed"}}"#);
    let serves = gateway.ask("echo", &instance(json!({}))).await;
    assert_eq!(serves.status, 200);
    let mut reasons = Vec::new();
    for target in [
        "text",
        "module",
        "empty",
        "truncated",
        "precompiled",
        "missing",
        "directory",
        "foreign",
    ] {
        let answer = gateway.ask(target, &instance(json!({}))).await;
        assert_eq!(
            answer.to_string(),
            r#"503 {"error":{"code":503,"message":"this target's plugin could not be loaded: the gateway's log says why","title":"Service Unavailable"}}"#
        );
        reasons.push(reason(&gateway, target).await);
    }
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    component text.wasm is not WebAssembly
    component module.wasm is a core module; make it a component with `wasm-tools component new`, or build it with `cargo xtask plugins`
    component empty.wasm does not export vendordock:vendordata/provider, so it is no plugin
    component truncated.wasm does not compile: failed to parse WebAssembly module: wasm component contains an invalid module section: section range 10..137 is out of bounds (bound = 14)
    component precompiled.wasm is precompiled; only WebAssembly components are loaded
    component missing.wasm cannot be read: No such file or directory (os error 2)
    component . cannot be read: Is a directory (os error 21)
    component foreign.wasm speaks vendordock:vendordata 0.2.0, and this gateway 0.1.x; rebuild it with an SDK of that line
    "#);
}

#[tokio::test]
async fn a_plugin_that_hangs_while_it_is_loaded_is_given_up_and_the_others_serve() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        targets.hangs = { component = "spin-describe.wasm" }
        "#,
    )
    .await;

    let readiness = gateway.get("/readyz").await;
    insta::assert_snapshot!(readiness, @r#"200 {"status":"degraded","targets":{"echo":"serving","hangs":"failed"}}"#);
    gateway
        .log_line(&[
            "not serving this target",
            "its `describe` failed",
            "deadline",
        ])
        .await;
}

#[tokio::test]
async fn a_configuration_that_the_plugin_does_not_take_is_reported_with_its_keys() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.echo]
        component = "echo.wasm"
        [targets.sloppy]
        component = "echo.wasm"
        config = { scope = "everyone", ttl_ms = -1 }
        [targets.misspelt]
        component = "fails.wasm"
        config = { colour = "blue" }
        "#,
    )
    .await;

    insta::assert_snapshot!(reason(&gateway, "misspelt").await, @r#"component fails.wasm: config: Additional properties are not allowed ('colour' was unexpected)"#);
    insta::assert_snapshot!(reason(&gateway, "sloppy").await, @r#"component echo.wasm: config.scope: "everyone" is not one of "none", "instance" or 2 other candidates; config.ttl_ms: -1 is less than the minimum of 0"#);
}

#[tokio::test]
async fn a_plugin_that_follows_events_as_well_serves_like_any_other() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.events = { component = "events.wasm" }
        "#,
    )
    .await;

    let answer = gateway.ask("events", &instance(json!({}))).await;

    insta::assert_snapshot!(gateway.get("/readyz").await, @r#"200 {"status":"ready","targets":{"events":"serving"}}"#);
    // Its answer would come from its state, of which it has none.
    assert_eq!(answer.status, 500);
    gateway
        .log_line(&[answer.request_id(), "StateError::NotGranted"])
        .await;
}

#[tokio::test]
async fn a_gateway_without_one_serving_target_is_not_ready() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.missing = { component = "missing.wasm" }
        "#,
    )
    .await;

    insta::assert_snapshot!(gateway.get("/readyz").await, @r#"503 {"status":"failed","targets":{"missing":"failed"}}"#);
    insta::assert_snapshot!(gateway.get("/healthz").await, @"200 ok");
}

#[tokio::test]
async fn a_target_without_its_secret_or_authority_does_not_serve() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.echo]
        component = "echo.wasm"
        [targets.nocert]
        component = "fetch.wasm"
        ca_file = "ca.pem"
        [targets.nosecret]
        component = "fetch.wasm"
        egress = ["https://ipa.example.test"]
        [targets.nosecret.credentials.key]
        secret = { file = "key" }
        origins = ["https://ipa.example.test"]
        "#,
    )
    .await;

    insta::assert_snapshot!(reason(&gateway, "nocert").await, @"ca_file ca.pem cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(reason(&gateway, "nosecret").await, @"credential `key`: the secret file key cannot be read: No such file or directory (os error 2)");
}
