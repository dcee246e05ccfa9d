//! Providers in other languages: the examples in Python and JavaScript with services behind them, and what their runtimes find in
//! the sandbox.
//!
//! Such a component takes seconds to compile, so one gateway answers all that a test has to ask of it.

use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;
use crate::upstream::{Upstream, Waiting};

/// The examples of both languages, and what else is configured for them: see `instance` for whom they are asked.
fn directory() -> Directory {
    let directory = Directory::new().with("token", "t0p s3cret\n");
    for component in ["product-key.wasm", "facts.wasm"] {
        assert!(
            directory.path(component).exists(),
            "{component} is missing: run `cargo xtask plugins --language python --language javascript`"
        );
    }
    directory
}

/// What is common to the configurations here. A compiler that was not optimised, on a machine that does much else, takes
/// its time.
const COMMON: &str = "auth.require = \"none\"\nengine.compile_timeout_ms = 600000\n";

/// A target with a credential for the service, and an origin that it may call.
fn target(name: &str, component: &str, upstream: &Upstream, more: &str, config: &str) -> String {
    format!(
        r#"
        [targets.{name}]
        component = "{component}"
        egress = [{{ to = "{url}/api", networks = ["127.0.0.0/8"] }}]
        {more}
        [targets.{name}.credentials.service]
        secret = {{ file = "token" }}
        origins = ["{url}"]
        [targets.{name}.config]
        credential = "service"
        {config}
        "#,
        url = upstream.url(),
    )
}

/// The example in Python.
fn product_key(name: &str, upstream: &Upstream, more: &str, config: &str) -> String {
    let config = format!(
        r#"
        server = "{url}/api"
        {config}
        [targets.{name}.config.products]
        windows-2025 = {{ sku = "W25-DC" }}
        oracle-26 = {{ sku = "ORA", projects = ["another"] }}
        "#,
        url = upstream.url(),
    );
    target(name, "product-key.wasm", upstream, more, &config)
}

/// The example in JavaScript.
fn facts(name: &str, upstream: &Upstream, more: &str, config: &str) -> String {
    let config = format!(
        r#"
        url = "{url}/api/hosts/{{hostname}}?tenant={{project_id}}"
        {config}
        [targets.{name}.config.members]
        role = "/role"
        site = "/location/site"
        "#,
        url = upstream.url(),
    );
    target(name, "facts.wasm", upstream, more, &config)
}

/// Asks a target whose plugin asks its service once, which answers so. Returns what the service was asked, too.
async fn ask(
    gateway: &Gateway,
    target: &str,
    body: &Value,
    upstream: &Upstream,
    (status, headers, answer): (&str, &[&str], &str),
) -> (Answer, String) {
    tokio::join!(gateway.ask(target, body), async {
        let waiting: Waiting = upstream.next().await;
        let request = waiting.request.clone();
        waiting.answer(status, headers, answer).await;
        // The port is another each time.
        let host = upstream.url().replace("http://", "");
        request.replace(&host, "HOST").replace('\r', "")
    })
}

/// Lets a service fail in these ways, one after the other. Returns what nova gets each time, and whose fault the log says it is.
async fn failures(
    gateway: &Gateway,
    target: &str,
    body: &Value,
    upstream: &Upstream,
    ways: &[(&str, &[&str], &str)],
) -> String {
    let mut told = Vec::new();
    for way in ways {
        let (answer, _) = ask(gateway, target, body, upstream, *way).await;
        let retry_after = answer.header("retry-after");
        let reason = reason(gateway, &answer).await;
        told.push(format!(
            "{}: {} {retry_after} {reason}",
            way.0, answer.status
        ));
    }
    told.join("\n")
}

/// What the plugin says of its failure, from the log.
async fn reason(gateway: &Gateway, answer: &Answer) -> String {
    let line = gateway
        .log_line(&[answer.request_id(), "the plugin answered: "])
        .await;
    let (_, reason) = line
        .split_once("the plugin answered: ")
        .expect("it was found");
    let end = reason.find(" status=").expect("it follows");
    reason[..end].to_owned()
}

#[tokio::test]
async fn a_provider_in_python_gives_each_instance_one_key_and_says_whose_fault_it_is_when_it_cannot()
 {
    let upstream = Upstream::start().await;
    let configuration = [
        COMMON,
        "state.path = \"state.redb\"\n",
        &product_key("licence", &upstream, "state = {}", "keys_per_day = 2"),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;
    let of = |number: u32, product: &str, note: &str| {
        let mut body = instance(json!({"licence_product": product, "note": note}));
        body["instance-id"] = json!(format!("a3a4c0b6-2b1c-4f6e-9d5f-00000000000{number}"));
        body
    };
    let windows = "windows-2025";

    let created = r#"{"key": "AAAA-BBBB", "expires": "2027-11-24", "invoice": 7}"#;
    let created = ("201 Created", &[][..], created);
    let (first, asked) = ask(&gateway, "licence", &of(1, windows, ""), &upstream, created).await;
    // From the cache, and then from what the plugin remembers: the service is not asked.
    let cached = gateway.ask("licence", &of(1, windows, "")).await;
    let remembered = gateway.ask("licence", &of(1, windows, "changed")).await;

    insta::assert_snapshot!(first, @r#"200 {"product": "windows-2025", "key": "AAAA-BBBB", "expires": "2027-11-24"}"#);
    insta::assert_snapshot!(asked, @r#"
    POST /api/allocations HTTP/1.1
    content-type: application/json
    accept: application/json
    idempotency-key: a3a4c0b6-2b1c-4f6e-9d5f-000000000001/windows-2025
    authorization: Bearer t0p s3cret
    host: HOST
    content-length: 86

    {"sku": "W25-DC", "client": "a3a4c0b6-2b1c-4f6e-9d5f-000000000001", "hostname": "web"}
    "#);
    assert_eq!(cached.to_string(), first.to_string());
    assert_eq!(remembered.to_string(), first.to_string());
    for answer in [&first, &cached, &remembered] {
        let audited = ["vendordock::audit", answer.request_id()];
        gateway.log_line(&audited).await;
    }

    let mut refusals = Vec::new();
    for product in ["windows-95", "oracle-26"] {
        refusals.push(
            gateway
                .ask("licence", &of(2, product, ""))
                .await
                .to_string(),
        );
    }
    let without = gateway.ask("licence", &instance(json!({}))).await;
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    400 {"error":{"code":400,"message":"/metadata/licence_product: there is no such product; there are oracle-26, windows-2025","title":"Bad Request"}}
    403 {"error":{"code":403,"message":"this project may have no key for oracle-26","title":"Forbidden"}}
    "#);
    assert_eq!(without.to_string(), "200 {}");

    let deep = "[".repeat(200_000);
    let ways: [(&str, &[&str], &str); 7] = [
        ("401 Unauthorized", &[], "{}"),
        ("404 Not Found", &[], "{}"),
        ("409 Conflict", &[], "{}"),
        ("503 Service Unavailable", &["Retry-After: 7"], "{}"),
        ("500 Internal Server Error", &[], "AAAA-CCCC"),
        ("200 OK", &[], r#"{"kee": "AAAA-CCCC"}"#),
        ("200 OK", &[], &deep),
    ];
    let told = failures(&gateway, "licence", &of(2, windows, ""), &upstream, &ways).await;
    insta::assert_snapshot!(told, @r#"
    401 Unauthorized: 500  Misconfigured(["/credential: the licence server does not accept it: 401"])
    404 Not Found: 500  Misconfigured(["/products/windows-2025/sku: the licence server does not know it"])
    409 Conflict: 503  Unavailable(None)
    503 Service Unavailable: 503 7 Unavailable(Some(7000))
    500 Internal Server Error: 502  Upstream("the licence server answered 500")
    200 OK: 502  Upstream("the licence server answered 200 without a key")
    200 OK: 502  Upstream("the licence server answered 200 without a key")
    "#);
    let body = of(2, windows, "");
    let (lost, ()) = tokio::join!(gateway.ask("licence", &body), async {
        drop(upstream.next().await);
    });
    let broke = reason(&gateway, &lost).await;
    insta::assert_snapshot!(broke.replace(&upstream.url(), "http://HOST"), @r#"Upstream("the connection to http://HOST broke")"#);

    // What was not given did not count; what was given does.
    let created = ("200 OK", &[][..], r#"{"key": "AAAA-DDDD"}"#);
    let (second, _) = ask(&gateway, "licence", &of(2, windows, ""), &upstream, created).await;
    let third = gateway.ask("licence", &of(3, windows, "")).await;
    drop(upstream);
    let down = gateway.ask("licence", &of(2, windows, "changed")).await;

    insta::assert_snapshot!(second, @r#"200 {"product": "windows-2025", "key": "AAAA-DDDD"}"#);
    insta::assert_snapshot!(third, @r#"429 {"error":{"code":429,"message":"the plugin asks to wait","title":"Too Many Requests"}}"#);
    assert_eq!(down.to_string(), second.to_string());
    let written = gateway.written().await;
    for secret in ["t0p s3cret", "AAAA-BBBB", "AAAA-CCCC", "AAAA-DDDD"] {
        assert!(
            !written.contains(secret),
            "{secret} is in the log:\n{written}"
        );
    }
}

#[tokio::test]
async fn a_provider_in_javascript_tells_what_its_service_knows_and_what_it_knew_while_that_is_down()
{
    let upstream = Upstream::start().await;
    let configuration = [
        COMMON,
        "state.path = \"state.redb\"\n",
        &facts(
            "facts",
            &upstream,
            "state = {}",
            "scheme = \"header:X-Token\"",
        ),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;
    let of = |hostname: &str, note: &str| {
        let mut body = instance(json!({"note": note}));
        body["hostname"] = json!(hostname);
        if hostname != "web" {
            body["instance-id"] = json!("b3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11");
        }
        body
    };

    let known =
        r#"{"role": "database", "location": {"site": "north", "door": 4711}, "tier": null}"#;
    let known = ("200 OK", &[][..], known);
    let (first, asked) = ask(&gateway, "facts", &of("web", ""), &upstream, known).await;
    let cached = gateway.ask("facts", &of("web", "")).await;

    insta::assert_snapshot!(first, @r#"200 {"role":"database","site":"north"}"#);
    insta::assert_snapshot!(asked, @r"
    GET /api/hosts/web?tenant=039d104b7a5c4631b4ba6524d0b9e981 HTTP/1.1
    accept: application/json
    x-token: t0p s3cret
    host: HOST
    ");
    assert_eq!(cached.to_string(), first.to_string());

    let missing = ("404 Not Found", &[][..], "no such host");
    let (unknown, asked) = ask(&gateway, "facts", &of("x y?z#", ""), &upstream, missing).await;
    assert_eq!(unknown.to_string(), "200 {}");
    insta::assert_snapshot!(asked.lines().next().expect("a line"), @"GET /api/hosts/x%20y%3Fz%23?tenant=039d104b7a5c4631b4ba6524d0b9e981 HTTP/1.1");
    let nowhere = gateway.ask("facts", &of("..", "")).await;
    assert_eq!(
        nowhere.to_string(),
        "200 {}",
        "and the service is not asked"
    );
    let elsewhere = gateway.ask("facts", &of("../users", "")).await;
    let denied = reason(&gateway, &elsewhere).await;
    insta::assert_snapshot!(denied.replace(&upstream.url(), "http://HOST"), @r#"Misconfigured(["/url: this path of http://HOST is not granted to this target"])"#);

    let deep = "[".repeat(200_000);
    let ways: [(&str, &[&str], &str); 4] = [
        ("401 Unauthorized", &[], "{}"),
        ("500 Internal Server Error", &[], "AAAA-CCCC"),
        ("200 OK", &[], "AAAA-CCCC"),
        ("200 OK", &[], &deep),
    ];
    let told = failures(&gateway, "facts", &of("other", ""), &upstream, &ways).await;
    insta::assert_snapshot!(told, @r#"
    401 Unauthorized: 500  Misconfigured(["/credential: is not accepted: 401"])
    500 Internal Server Error: 502  Upstream("the URL answers 500")
    200 OK: 502  Upstream("the URL answers no JSON")
    200 OK: 502  Upstream("the URL answers no JSON")
    "#);

    // The body differs, so that the cache has no answer; what the plugin kept is of the instance.
    let failing = ("500 Internal Server Error", &[][..], "AAAA-CCCC");
    let (failed, _) = ask(&gateway, "facts", &of("web", "1"), &upstream, failing).await;
    let refusing = ("401 Unauthorized", &[][..], "{}");
    let (refused, _) = ask(&gateway, "facts", &of("web", "2"), &upstream, refusing).await;
    drop(upstream);
    let down = gateway.ask("facts", &of("web", "3")).await;
    // The same instance by another name.
    let mut renamed = of("web", "");
    renamed["hostname"] = json!("other");
    let other = gateway.ask("facts", &renamed).await;

    assert_eq!(failed.to_string(), first.to_string());
    assert_eq!(down.to_string(), first.to_string());
    assert_eq!(refused.status, 500, "somebody has to see to it: {refused}");
    assert_eq!(other.status, 502, "of this name nothing was known: {other}");
    gateway
        .log_line(&["answered what was known before", "the URL answers 500"])
        .await;
    let written = gateway.written().await;
    for secret in ["t0p s3cret", "AAAA-CCCC", "4711"] {
        assert!(
            !written.contains(secret),
            "{secret} is in the log:\n{written}"
        );
    }
}

#[tokio::test]
async fn without_its_grants_a_provider_says_what_is_missing_and_a_fault_is_named_by_its_key() {
    let (granted, other) = (Upstream::start().await, Upstream::start().await);
    // It is told to ask another service than the one that is granted.
    let licence = product_key("licence", &granted, "", "");
    let (grants, config) = licence.split_once(".config]").expect("it has one");
    let config = config.replace(&granted.url(), &other.url());
    let configuration = [
        COMMON,
        grants,
        ".config]",
        &config,
        &product_key("counted", &granted, "", "keys_per_day = 0"),
        &facts("odd", &granted, "", "").replace("{hostname}", "{host}"),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;
    let body = instance(json!({"licence_product": "windows-2025"}));

    let answer = gateway.ask("licence", &body).await;

    insta::assert_snapshot!(answer, @r#"500 {"error":{"code":500,"message":"the target's configuration is at fault: the gateway's log says where","title":"Internal Server Error"}}"#);
    gateway.log_line(&["no state is granted"]).await;
    gateway
        .log_line(&["refused a request of the plugin", &other.url()])
        .await;
    assert!(
        reason(&gateway, &answer).await.contains("/server"),
        "the key to look at"
    );
    for (target, fault) in [
        (
            "counted",
            "config.keys_per_day: 0 is less than the minimum of 1",
        ),
        (
            "odd",
            "config.url: {host} means nothing; there are {hostname}, {instance_id}, {project_id}",
        ),
    ] {
        let name = format!("vendordata.target={target}");
        gateway
            .log_line(&["not serving this target", &name, fault])
            .await;
    }
}

#[tokio::test]
async fn a_runtime_finds_nothing_around_it_and_its_exceptions_go_no_further_than_the_log() {
    let gateway = Gateway::serve(
        directory(),
        &format!(
            r#"
            {COMMON}
            targets.python = {{ component = "python-probe.wasm", breaker = false }}
            targets.javascript = {{ component = "javascript-probe.wasm", breaker = false }}
            "#
        ),
    )
    .await;

    for (target, trace) in [
        ("python", ["probe.py", "looked_up", "KeyError: 'color'"]),
        ("javascript", ["probe.js", "lookedUp", "TypeError"]),
    ] {
        let mut answers = Vec::new();
        for error in [
            "invalid-request",
            "forbidden",
            "not-found",
            "conflict",
            "throttled",
            "misconfigured",
            "internal",
            "upstream",
            "unavailable",
            "upstream-timeout",
        ] {
            let how = json!({"how": format!("error:{error}")});
            let answer = gateway.ask(target, &instance(how)).await;
            let retry_after = answer.header("retry-after");
            answers.push(format!(
                "{error}: {} {retry_after} {}",
                answer.status,
                answer.at("/error/message")
            ));
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(answers.join("\n"), @r#"
            invalid-request: 400  "/metadata/how: is an error"
            forbidden: 403  "no"
            not-found: 404  "nothing"
            conflict: 409  "changed"
            throttled: 429 2 "the plugin asks to wait"
            misconfigured: 500  "the target's configuration is at fault: the gateway's log says where"
            internal: 500  "the plugin failed"
            upstream: 502  "a service behind the plugin failed"
            unavailable: 503 3 "a service behind the plugin is not available"
            upstream-timeout: 504  "a service behind the plugin was too slow"
            "#);
        }

        let failed = gateway.ask(target, &instance(json!({"how": "fail"}))).await;
        let worked = gateway.ask(target, &instance(json!({}))).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(failed, @r#"500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}"#);
        }
        assert_eq!(
            worked.at("/fqdn"),
            json!("web.cloud.example.test"),
            "{worked}"
        );
        gateway
            .log_line(&[failed.request_id(), "fault=\"guest\""])
            .await;
        // For the plugin's author: what was raised, and where.
        let crash = gateway
            .log_line(&["plugin::crash", failed.request_id(), "printed="])
            .await;
        for part in trace {
            assert!(crash.contains(part), "{part} is not in {crash}");
        }
    }

    let left = gateway
        .ask("python", &instance(json!({"how": "leave"})))
        .await;
    assert_eq!(left.status, 500, "{left}");

    let look = instance(json!({"how": "system"}));

    insta::assert_snapshot!(gateway.ask("python", &look).await, @r#"200 {"arguments": [], "environment": {}, "root": "FileNotFoundError", "file": "FileNotFoundError", "new file": "FileNotFoundError", "name": "LookupError", "socket": "LookupError", "input": "''"}"#);
    // The runtime of JavaScript does not throw where there is nothing: it traps, and the call ends.
    insta::assert_snapshot!(gateway.ask("javascript", &look).await, @r#"500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}"#);
}
