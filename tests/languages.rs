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

/// A target with a credential for the service, and an origin that it may call.
fn target(name: &str, component: &str, upstream: &Upstream, config: &str) -> String {
    format!(
        r#"
        [targets.{name}]
        component = "{component}"
        egress = ["{url}"]
        timeout_ms = 3000
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
fn product_key(name: &str, upstream: &Upstream, config: &str) -> String {
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
    target(name, "product-key.wasm", upstream, &config)
}

/// The example in JavaScript.
fn facts(name: &str, upstream: &Upstream, config: &str) -> String {
    let config = format!(
        r#"
        url = "{url}/hosts/{{hostname}}?tenant={{project_id}}"
        {config}
        [targets.{name}.config.members]
        role = "/role"
        site = "/location/site"
        "#,
        url = upstream.url(),
    );
    target(name, "facts.wasm", upstream, &config)
}

/// An instance that wants a product.
fn wanting(product: &str) -> Value {
    instance(json!({"licence_product": product}))
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

#[tokio::test]
async fn a_provider_in_python_hands_on_what_its_service_gives_and_says_whose_fault_a_failure_is() {
    let upstream = Upstream::start().await;
    let configuration = [
        "auth.require = \"none\"\n",
        &product_key("licence", &upstream, ""),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;

    let created = r#"{"key": "AAAA-BBBB", "expires": "2027-11-24", "invoice": 7}"#;
    let (answer, asked) = ask(
        &gateway,
        "licence",
        &wanting("windows-2025"),
        &upstream,
        ("201 Created", &[], created),
    )
    .await;
    let again = gateway.ask("licence", &wanting("windows-2025")).await;

    insta::assert_snapshot!(answer, @"");
    assert_eq!(again.to_string(), answer.to_string(), "from the cache");
    insta::assert_snapshot!(asked, @"");
    gateway
        .log_line(&["vendordock::audit", answer.request_id()])
        .await;
    gateway.log_line(&["no state is granted"]).await;

    let mut answers = Vec::new();
    for body in [
        instance(json!({})),
        wanting("windows-95"),
        wanting("oracle-26"),
    ] {
        answers.push(gateway.ask("licence", &body).await.to_string());
    }
    insta::assert_snapshot!(answers.join("\n"), @"");

    let mut other = wanting("windows-2025");
    other["instance-id"] = json!("b3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11");
    let deep = "[".repeat(200_000);
    let mut failures = Vec::new();
    for service in [
        ("401 Unauthorized", &[][..], "{}"),
        ("404 Not Found", &[], "{}"),
        ("409 Conflict", &[], "{}"),
        ("503 Service Unavailable", &["Retry-After: 7"], "{}"),
        ("500 Internal Server Error", &[], "AAAA-CCCC"),
        ("200 OK", &[], r#"{"kee": "AAAA-CCCC"}"#),
        ("200 OK", &[], &deep),
    ] {
        let (answer, _) = ask(&gateway, "licence", &other, &upstream, service).await;
        let line = gateway
            .log_line(&[answer.request_id(), "the plugin answered"])
            .await;
        let (_, reason) = line.split_once("the plugin answered: ").expect("it has it");
        let reason = reason.split(" request.id").next().expect("a part");
        let retry_after = answer.header("retry-after");
        failures.push(format!(
            "{} {} {retry_after}: {reason}",
            service.0, answer.status
        ));
    }
    insta::assert_snapshot!(failures.join("\n"), @"");

    drop(upstream);
    let down = gateway.ask("licence", &other).await;
    insta::assert_snapshot!(down, @"");

    let written = gateway.written().await;
    for secret in ["t0p s3cret", "AAAA-BBBB", "AAAA-CCCC"] {
        assert!(
            !written.contains(secret),
            "{secret} is in the log:\n{written}"
        );
    }
}

#[tokio::test]
async fn a_provider_in_javascript_hands_on_what_its_service_gives_and_says_whose_fault_a_failure_is()
 {
    let upstream = Upstream::start().await;
    let configuration = [
        "auth.require = \"none\"\n",
        &facts("facts", &upstream, "scheme = \"header:X-Token\""),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;
    let body = |hostname: &str| {
        let mut body = instance(json!({}));
        body["hostname"] = json!(hostname);
        body
    };

    let known =
        r#"{"role": "database", "location": {"site": "north", "door": 4711}, "tier": null}"#;
    let (answer, asked) = ask(
        &gateway,
        "facts",
        &body("web"),
        &upstream,
        ("200 OK", &[], known),
    )
    .await;
    let again = gateway.ask("facts", &body("web")).await;

    insta::assert_snapshot!(answer, @"");
    assert_eq!(again.to_string(), answer.to_string(), "from the cache");
    insta::assert_snapshot!(asked, @"");

    let (unknown, asked) = ask(
        &gateway,
        "facts",
        &body("../x y?z=/"),
        &upstream,
        ("404 Not Found", &[], "no such host"),
    )
    .await;
    assert_eq!(unknown.to_string(), "200 {}");
    insta::assert_snapshot!(asked.lines().next().expect("a line"), @"");
    let nowhere = gateway.ask("facts", &body("..")).await;
    assert_eq!(
        nowhere.to_string(),
        "200 {}",
        "and the service is not asked"
    );

    let deep = "[".repeat(200_000);
    let mut failures = Vec::new();
    for service in [
        ("401 Unauthorized", &[][..], "{}"),
        ("500 Internal Server Error", &[], "AAAA-CCCC"),
        ("200 OK", &[], "AAAA-CCCC"),
        ("200 OK", &[], &deep),
    ] {
        let (answer, _) = ask(&gateway, "facts", &body("other"), &upstream, service).await;
        let line = gateway
            .log_line(&[answer.request_id(), "the plugin answered"])
            .await;
        let (_, reason) = line.split_once("the plugin answered: ").expect("it has it");
        let reason = reason.split(" request.id").next().expect("a part");
        failures.push(format!("{} {}: {reason}", service.0, answer.status));
    }
    insta::assert_snapshot!(failures.join("\n"), @"");

    drop(upstream);
    let down = gateway.ask("facts", &body("other")).await;
    insta::assert_snapshot!(down, @"");

    let written = gateway.written().await;
    for secret in ["t0p s3cret", "AAAA-CCCC", "4711"] {
        assert!(
            !written.contains(secret),
            "{secret} is in the log:\n{written}"
        );
    }
}

#[tokio::test]
async fn providers_in_other_languages_reach_what_is_granted_only_and_faults_are_named_by_key() {
    let (granted, other) = (Upstream::start().await, Upstream::start().await);
    let elsewhere = |target: String| {
        // All but the service that it is told to ask.
        let (grants, config) = target.split_once(".config]").expect("it has one");
        let config = config.replace(&granted.url(), &other.url());
        format!("{grants}.config]{config}")
    };
    let configuration = [
        "auth.require = \"none\"\n",
        &elsewhere(product_key("licence", &granted, "")),
        &elsewhere(facts("facts", &granted, "")),
        &product_key("counted", &granted, "keys_per_day = 0"),
        &facts("odd", &granted, "").replace("{hostname}", "{host}"),
    ]
    .concat();
    let gateway = Gateway::serve(directory(), &configuration).await;

    let licence = gateway.ask("licence", &wanting("windows-2025")).await;
    let facts = gateway.ask("facts", &instance(json!({}))).await;

    for answer in [licence, facts] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer, @"");
        }
        gateway
            .log_line(&[
                answer.request_id(),
                "refused a request of the plugin",
                &format!("add \"{}\"", other.url()),
            ])
            .await;
    }
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
async fn every_error_has_its_status_and_an_uncaught_exception_is_the_guests_fault() {
    let gateway = Gateway::serve(
        directory(),
        r#"
        auth.require = "none"
        targets.python = { component = "python-probe.wasm" }
        targets.javascript = { component = "javascript-probe.wasm" }
        "#,
    )
    .await;

    for target in ["python", "javascript"] {
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
            insta::assert_snapshot!(answers.join("\n"), @"");
        }

        let failed = gateway.ask(target, &instance(json!({"how": "fail"}))).await;
        let worked = gateway.ask(target, &instance(json!({}))).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(failed, @"");
        }
        assert_eq!(
            worked.at("/fqdn"),
            json!("web.cloud.example.test"),
            "{worked}"
        );
        gateway
            .log_line(&[failed.request_id(), "fault=\"guest\"", "the plugin trapped"])
            .await;
    }

    let left = gateway
        .ask("python", &instance(json!({"how": "leave"})))
        .await;
    assert_eq!(left.status, 500, "{left}");
}

#[tokio::test]
async fn a_runtime_finds_no_files_sockets_arguments_or_environment() {
    let gateway = Gateway::serve(
        directory(),
        r#"
        auth.require = "none"
        targets.python = { component = "python-probe.wasm" }
        targets.javascript = { component = "javascript-probe.wasm" }
        "#,
    )
    .await;
    let look = instance(json!({"how": "system"}));

    insta::assert_snapshot!(gateway.ask("python", &look).await, @"");
    insta::assert_snapshot!(gateway.ask("javascript", &look).await, @"");
}
