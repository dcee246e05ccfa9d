//! An answer for cloud-init, composed of several targets: asked of the real program.

use reqwest::Method;
use serde_json::json;

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

/// Two members that tell of their runs, and what is composed of them.
const COMPOSED: &str = r##"
    auth.require = "none"
    [targets.join]
    component = "parts.wasm"
    config = { run = true, secret = true }
    [targets.site]
    component = "parts.wasm"
    config.parts = [{ name = "motd", kind = "cloud-config", content = "runcmd: [date]\n" }]
    [targets.cloud-init]
    kind = "cloud-init"
    compose = ["join", "site"]
"##;

/// The message that the answer is.
fn message(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    answer
        .at("")
        .as_str()
        .unwrap_or_else(|| panic!("no string: {answer}"))
        .to_owned()
}

/// The lines of a message that say what each part is called.
fn names(answer: &Answer) -> Vec<String> {
    let message = message(answer);
    let names = message.split("filename=\"").skip(1);
    let names = names.map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
    names.collect()
}

#[tokio::test]
async fn the_parts_of_all_members_come_in_one_string_in_their_order_and_the_same_each_time() {
    let gateway = Gateway::start(COMPOSED).await;
    let body = instance(json!({}));

    let first = gateway.ask("cloud-init", &body).await;
    let again = gateway.ask("cloud-init", &body).await;

    assert_eq!(
        names(&first),
        ["vendordock-0101-join-run", "vendordock-0201-site-motd"]
    );
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("content-type"), "application/json");
    gateway
        .log_line(&[
            again.request_id(),
            "cache=\"hit\"",
            "vendordata.target=\"cloud-init\"",
        ])
        .await;
}

#[tokio::test]
async fn what_a_member_has_issued_is_the_same_in_its_own_answer_and_in_the_composed_one() {
    let gateway = Gateway::start(COMPOSED).await;

    for (metadata, order) in [
        (json!({"a": "1"}), ["join", "cloud-init"]),
        (json!({"a": "2"}), ["cloud-init", "join"]),
    ] {
        let body = instance(metadata);
        let (one, other) = tokio::join!(gateway.ask(order[0], &body), gateway.ask(order[1], &body));
        let (own, composed) = if order[0] == "join" {
            (one, other)
        } else {
            (other, one)
        };
        let run = own.at("/run");
        let run = run.as_str().expect("a number");
        assert!(message(&composed).contains(run), "{own}\n{composed}");
    }
}

#[tokio::test]
async fn a_composed_answer_with_a_secret_has_its_line_in_the_audit_log() {
    let gateway = Gateway::start(COMPOSED).await;

    let answer = gateway.ask("cloud-init", &instance(json!({}))).await;

    gateway
        .log_line(&[
            "vendordock::audit",
            answer.request_id(),
            "handed out a secret",
        ])
        .await;
}

#[tokio::test]
async fn members_are_asked_in_parallel() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let configuration = format!(
        r##"
        auth.require = "none"
        [targets.one]
        component = "proxy.wasm"
        egress = [{{ to = "{one}", networks = ["127.0.0.0/8"] }}]
        config.url = "{one}/"
        [targets.other]
        component = "proxy.wasm"
        egress = [{{ to = "{other}", networks = ["127.0.0.0/8"] }}]
        config.url = "{other}/"
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["one", "other"]
        "##,
        one = one.url(),
        other = other.url(),
    );
    let gateway = Gateway::start(&configuration).await;
    let body = instance(json!({}));

    let (answer, ()) = tokio::join!(gateway.ask("cloud-init", &body), async {
        // Neither is answered before both have been asked.
        let (first, second) = tokio::join!(one.next(), other.next());
        let script =
            |name| json!({ "cloud-init": format!("#!/bin/sh\necho {name}\n") }).to_string();
        second.answer("200 OK", &[], &script("second")).await;
        first.answer("200 OK", &[], &script("first")).await;
    });

    let message = message(&answer);
    let (first, second) = (message.find("echo first"), message.find("echo second"));
    assert!(first.is_some() && first < second, "{message}");
}

#[tokio::test]
async fn a_member_that_fails_is_left_out_and_asked_again_or_fails_the_whole() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        [targets.down]
        component = "parts.wasm"
        config.fail = true
        [targets.site]
        component = "parts.wasm"
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.missing]
        component = "no-such-file.wasm"
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["down", "missing", "site"]
        [targets.strict]
        kind = "cloud-init"
        compose = [{ target = "down", on_failure = "fail" }, "site"]
        [targets.hopeless]
        kind = "cloud-init"
        compose = [{ target = "missing", on_failure = "fail" }, "site"]
        "##,
    )
    .await;
    let body = instance(json!({}));

    let without = gateway.ask("cloud-init", &body).await;
    let again = gateway.ask("cloud-init", &body).await;
    let strict = gateway.ask("strict", &body).await;
    let hopeless = gateway.ask("hopeless", &body).await;

    assert_eq!(names(&without), ["vendordock-0301-site-a"]);
    assert_eq!(without.body, again.body);
    gateway
        .log_line(&[without.request_id(), "member=down", "as configured"])
        .await;
    gateway
        .log_line(&[again.request_id(), "cache=\"miss\"", "answered"])
        .await;
    insta::assert_snapshot!(strict, @r#"502 {"error":{"code":502,"message":"target down: a service behind the plugin failed","title":"Bad Gateway"}}"#);
    insta::assert_snapshot!(hopeless, @r#"503 {"error":{"code":503,"message":"target missing: this target's plugin could not be loaded: the gateway's log says why","title":"Service Unavailable"}}"#);
    let metrics = gateway.ask_admin(Method::GET, "/metrics", "").await.body;
    for (member, times) in [("down", 2), ("missing", 2)] {
        let line = format!(
            "vendordock_members_left_out_total{{cloud=\"default\",target=\"cloud-init\",member=\"{member}\"}} {times}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let ready = gateway.get("/readyz").await;
    assert_eq!(
        (
            ready.at("/targets/cloud-init"),
            ready.at("/targets/hopeless")
        ),
        (json!("serving"), json!("failed"))
    );
}

#[tokio::test]
async fn a_member_that_is_not_called_for_a_while_is_left_out_or_fails_the_whole() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.trap]
        component = "trap.wasm"
        breaker = { faults = 1, pause_ms = 60000 }
        [targets.site]
        component = "parts.wasm"
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["trap", "site"]
        [targets.strict]
        kind = "cloud-init"
        compose = [{ target = "trap", on_failure = "fail" }, "site"]
        "##,
    )
    .await;
    let body = instance(json!({}));

    let before = gateway.get("/readyz").await;
    // The first of them is the fault.
    let strict = gateway.ask("strict", &body).await;
    let paused = gateway.ask("strict", &body).await;
    let without = gateway.ask("cloud-init", &body).await;
    let after = gateway.get("/readyz").await;

    assert_eq!(strict.status, 500, "{strict}");
    insta::assert_snapshot!(paused, @r#"503 {"error":{"code":503,"message":"target trap: the plugin failed again and again, and is not called for a while","title":"Service Unavailable"}}"#);
    assert!(!paused.header("retry-after").is_empty());
    assert_eq!(names(&without), ["vendordock-0201-site-a"]);
    assert_eq!(before.at("/targets/strict"), json!("serving"));
    insta::assert_snapshot!(after, @r#"200 {"status":"degraded","targets":{"cloud-init":"serving","site":"serving","strict":"tripped","trap":"tripped"}}"#);
}

#[tokio::test]
async fn a_slow_member_is_left_out_within_the_time_of_the_whole() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.slow]
        component = "spin.wasm"
        [targets.site]
        component = "parts.wasm"
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.cloud-init]
        kind = "cloud-init"
        timeout_ms = 600
        compose = ["slow", "site"]
        [targets.strict]
        kind = "cloud-init"
        timeout_ms = 600
        compose = ["site", { target = "slow", on_failure = "fail" }]
        "##,
    )
    .await;
    let body = instance(json!({}));

    let without = gateway.ask("cloud-init", &body).await;
    let strict = gateway.ask("strict", &body).await;

    assert_eq!(names(&without), ["vendordock-0201-site-a"]);
    insta::assert_snapshot!(strict, @r#"504 {"error":{"code":504,"message":"target slow: the plugin exceeded the time that this target has (timeout_ms)","title":"Gateway Timeout"}}"#);
}

#[tokio::test]
async fn a_part_that_would_break_a_guest_is_its_members_fault() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.bad]
        component = "parts.wasm"
        config.parts = [{ name = "x", kind = "cloud-config", content = "password: hunter2: [\n" }]
        [targets.list]
        component = "parts.wasm"
        config.body = '{"cloud-init": {"runcmd": ["hunter2"]}}'
        [targets.good]
        component = "parts.wasm"
        config.body = '{"cloud-init": "#!/bin/sh\n"}'
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["bad", "list", "good"]
        [targets.strict]
        kind = "cloud-init"
        compose = ["good", { target = "bad", on_failure = "fail" }]
        [targets.alone]
        kind = "cloud-init"
        component = "parts.wasm"
        config.parts = [{ name = "x", kind = "script", content = "hunter2\n" }]
        "##,
    )
    .await;
    let body = instance(json!({}));

    let without = gateway.ask("cloud-init", &body).await;
    let strict = gateway.ask("strict", &body).await;
    let alone = gateway.ask("alone", &body).await;
    let own = gateway.ask("bad", &body).await;

    assert_eq!(names(&without), ["vendordock-0301-good-part"]);
    insta::assert_snapshot!(strict, @r#"502 {"error":{"code":502,"message":"what a plugin has for cloud-init would break a guest and is not handed on","title":"Bad Gateway"}}"#);
    insta::assert_snapshot!(alone, @r#"502 {"error":{"code":502,"message":"the plugin's answer would break a guest and is not handed on","title":"Bad Gateway"}}"#);
    assert_eq!(own.to_string(), "200 {}", "its own answer has no parts");
    gateway
        .log_line(&[strict.request_id(), "part \"x\" for cloud-init", "not YAML"])
        .await;
    let log = gateway.written().await;
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn with_nothing_from_any_member_the_answer_is_null() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        targets.echo = { component = "answers.wasm" }
        targets.none = { component = "parts.wasm" }
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["echo", "none"]
        "##,
    )
    .await;

    let answer = gateway
        .ask(
            "cloud-init",
            &instance(json!({"body": "{\"ipaotp\": \"x\"}"})),
        )
        .await;

    assert_eq!(answer.to_string(), "200 null");
}

#[tokio::test]
async fn a_plugin_of_a_cloud_init_target_gives_parts_or_a_text_and_the_answer_is_a_string() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.parts]
        kind = "cloud-init"
        component = "parts.wasm"
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.text]
        kind = "cloud-init"
        component = "parts.wasm"
        config.body = '"#cloud-config\nruncmd: [a]\n"'
        [targets.nested]
        kind = "cloud-init"
        component = "parts.wasm"
        config.body = '{"cloud-init": "#!/bin/sh\n"}'
        [targets.nothing]
        kind = "cloud-init"
        component = "parts.wasm"
        config.body = "null"
        [targets.list]
        kind = "cloud-init"
        component = "parts.wasm"
        config.body = '["#!/bin/sh"]'
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["parts", "text", "nested", "nothing"]
        "##,
    )
    .await;
    let body = instance(json!({}));

    let mut alone = Vec::new();
    for target in ["parts", "text", "nested"] {
        alone.extend(names(&gateway.ask(target, &body).await));
    }
    let nothing = gateway.ask("nothing", &body).await;
    let list = gateway.ask("list", &body).await;
    let together = gateway.ask("cloud-init", &body).await;

    assert_eq!(
        alone,
        [
            "vendordock-0101-parts-a",
            "vendordock-0101-text-part",
            "vendordock-0101-nested-part"
        ]
    );
    assert_eq!(nothing.to_string(), "200 null");
    assert_eq!(list.status, 502, "{list}");
    assert_eq!(
        names(&together),
        [
            "vendordock-0101-parts-a",
            "vendordock-0201-text-part",
            "vendordock-0301-nested-part"
        ]
    );
}

#[tokio::test]
async fn a_target_that_is_not_exposed_answers_in_composed_ones_only() {
    let directory = Directory::new();
    let configuration = r##"
        auth.require = "none"
        [targets.site]
        component = "parts.wasm"
        expose = false
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["site"]
        "##;
    let gateway = Gateway::serve(directory, configuration).await;
    let body = instance(json!({}));

    let own = gateway.ask("site", &body).await;
    let composed = gateway.ask("cloud-init", &body).await;

    assert_eq!(own.status, 404, "{own}");
    assert_eq!(names(&composed), ["vendordock-0101-site-a"]);
    let printed = Directory::new()
        .with("vendordock.toml", configuration)
        .run(&["nova-conf", "--config", "vendordock.toml"]);
    assert!(
        printed.stdout.contains("targets = cloud-init@"),
        "{printed:?}"
    );
    assert!(!printed.stdout.contains("site@"), "{printed:?}");
}

#[tokio::test]
async fn each_member_sees_user_data_by_its_own_grant_only() {
    let with = Upstream::start().await;
    let without = Upstream::start().await;
    let configuration = format!(
        r##"
        auth.require = "none"
        [targets.with]
        component = "proxy.wasm"
        user_data = true
        egress = [{{ to = "{with}", networks = ["127.0.0.0/8"] }}]
        config.url = "{with}/"
        [targets.without]
        component = "proxy.wasm"
        egress = [{{ to = "{without}", networks = ["127.0.0.0/8"] }}]
        config.url = "{without}/"
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["with", "without"]
        "##,
        with = with.url(),
        without = without.url(),
    );
    let gateway = Gateway::start(&configuration).await;
    let mut body = instance(json!({}));
    body["user-data"] = json!("c2VjcmV0");

    tokio::join!(gateway.ask("cloud-init", &body), async {
        let (with, without) = tokio::join!(with.next(), without.next());
        assert!(with.request.contains("c2VjcmV0"), "{}", with.request);
        assert!(!without.request.contains("c2VjcmV0"), "{}", without.request);
        tokio::join!(
            with.answer("204 No Content", &[], ""),
            without.answer("204 No Content", &[], "")
        );
    });
}

#[tokio::test]
async fn a_composed_answer_is_as_long_as_its_target_allows() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.site]
        component = "parts.wasm"
        config.parts = [{ name = "a", kind = "script", content = "#!/bin/sh\n" }]
        [targets.cloud-init]
        kind = "cloud-init"
        response_bytes = 300
        compose = ["site"]
        "##,
    )
    .await;

    let answer = gateway.ask("cloud-init", &instance(json!({}))).await;

    insta::assert_snapshot!(answer, @r#"502 {"error":{"code":502,"message":"the composed answer is longer than this target allows (response_bytes)","title":"Bad Gateway"}}"#);
}

#[tokio::test]
async fn a_composed_answer_is_kept_no_longer_than_its_members() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.fresh]
        component = "parts.wasm"
        config = { run = true, ttl_ms = 0 }
        [targets.kept]
        component = "parts.wasm"
        config = { run = true }
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["fresh", "kept"]
        "##,
    )
    .await;
    let body = instance(json!({}));
    let runs = |answer: &Answer| -> Vec<String> {
        let message = message(answer);
        let runs = message.lines().filter(|line| line.starts_with(": run "));
        runs.map(str::to_owned).collect()
    };

    let first = runs(&gateway.ask("cloud-init", &body).await);
    let second = runs(&gateway.ask("cloud-init", &body).await);

    assert_eq!((first.len(), second.len()), (2, 2));
    assert_ne!(first[0], second[0]);
    assert_eq!(first[1], second[1]);
}
