//! What the administration's listener tells: the metrics count what was done, and nothing in them is anybody's data.

use reqwest::Method;
use serde_json::json;
use vendordock_stand_ins::Ipa;

pub(crate) use self::exposition::Exposition;
use crate::callers;
use crate::gateway::{Answer, Gateway, instance};
use crate::join;
use crate::program::Directory;
use crate::upstream::Upstream;

pub(crate) mod exposition;

const ADMIN: &str = r#"
    auth.require = "none"
    admin.listen = "127.0.0.1:0"
    targets.echo = { component = "echo.wasm", config = { scope = "instance", ttl_ms = 600000 } }
"#;

/// SHA-256 of `correct horse`, and of `battery staple`.
const TOKENS: &str = r#"
    [admin.tokens]
    prometheus = "sha256:4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631"
    operator = "sha256:11e2b7895e7b3dca8df8d0cf965fde793b82cd39242774277ca90d72d09bfd59"
"#;

async fn scrape(gateway: &Gateway) -> Exposition {
    Exposition::of(&gateway.ask_admin(Method::GET, "/metrics", "").await)
}

#[tokio::test]
async fn known_requests_are_counted_exactly() {
    let upstream = Upstream::start().await;
    let configuration = format!(
        r#"
        {ADMIN}
        [targets.trap]
        component = "trap.wasm"
        [targets.spin]
        component = "spin.wasm"
        timeout_ms = 200
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{}", networks = ["127.0.0.0/8"] }}]
        cache_max_ttl_ms = 0
        "#,
        upstream.url()
    );
    let gateway = Gateway::start(&configuration).await;
    let body = instance(json!({}));

    for _ in 0..3 {
        assert_eq!(gateway.ask("echo", &body).await.status, 200);
    }
    gateway
        .ask("echo", &instance(json!({"another": "one"})))
        .await;
    assert_eq!(gateway.ask("echo", &json!("no request")).await.status, 400);
    assert_eq!(gateway.ask("nowhere", &body).await.status, 404);
    assert_eq!(gateway.ask("trap", &body).await.status, 500);
    assert_eq!(gateway.ask("spin", &body).await.status, 504);
    let denied = json!({"url": "http://192.0.2.1/"});
    assert_eq!(gateway.ask("fetch", &instance(denied)).await.status, 200);
    let granted = instance(json!({"url": upstream.url()}));
    tokio::join!(gateway.ask("fetch", &granted), async {
        upstream.next().await.answer("404 Not Found", &[], "").await;
    });

    let told = scrape(&gateway).await;
    insta::assert_snapshot!(told.told("vendordock_requests_total"), @r#"
    code=200 fault= target=echo 4
    code=200 fault= target=fetch 2
    code=400 fault=caller target=echo 1
    code=404 fault=caller target= 1
    code=500 fault=guest target=trap 1
    code=504 fault=guest target=spin 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_request_duration_seconds_count"), @r#"
    target= 1
    target=echo 5
    target=fetch 2
    target=spin 1
    target=trap 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_cache_lookups_total"), @r#"
    state=hit target=echo 2
    state=miss target=echo 2
    state=none target=fetch 2
    "#);
    insta::assert_snapshot!(told.told("vendordock_plugin_duration_seconds_count"), @r#"
    target=echo 2
    target=fetch 2
    target=spin 1
    target=trap 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_plugin_calls_total"), @r#"
    outcome=answered target=echo 2
    outcome=answered target=fetch 2
    outcome=timeout target=spin 1
    outcome=trap target=trap 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_plugin_traps_total"), @"target=trap 1");
    insta::assert_snapshot!(told.told("vendordock_plugin_timeouts_total"), @"target=spin 1");
    insta::assert_snapshot!(told.told("vendordock_egress_calls_total"), @r#"
    outcome=answered target=fetch 1
    outcome=denied target=fetch 1
    "#);
    insta::assert_snapshot!(told.told("vendordock_egress_duration_seconds_count"), @"target=fetch 1");
    assert_eq!(told.told("vendordock_calls_running"), "");
    assert_eq!(told.told("vendordock_calls_waiting"), "");
    assert_eq!(
        told.told("vendordock_build_info"),
        format!("version={} 1", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn what_a_plugin_takes_of_the_machine_is_told() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        targets.spin = { component = "spin.wasm", timeout_ms = 300 }
        "#,
    )
    .await;
    gateway.ask("spin", &instance(json!({}))).await;

    let told = scrape(&gateway).await;
    let number = |name: &str| -> f64 {
        let line = told.told(name);
        let (_, number) = line.rsplit_once(' ').expect("a number that is not zero");
        number.parse().expect("a number")
    };
    let wall = number("vendordock_plugin_duration_seconds_sum");
    let cpu = number("vendordock_plugin_cpu_seconds_total");
    assert!((0.25..5.0).contains(&wall), "{wall}");
    // Others may have had the processor for most of that time.
    assert!(cpu > 0.01 && cpu <= wall, "{cpu}");
    let memory = number("vendordock_plugin_memory_peak_bytes");
    assert!(memory >= 65_536.0 && memory % 65_536.0 == 0.0, "{memory}");
    assert!(
        told.told("vendordock_pool_slots")
            .contains("kind=memory state=warm")
    );
}

#[tokio::test]
async fn calls_that_find_no_place_are_told_apart_from_those_that_run() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        engine.concurrent_calls = 1
        targets.spin = { component = "spin.wasm", timeout_ms = 60000 }
        targets.echo = { component = "echo.wasm", timeout_ms = 100, cache_max_ttl_ms = 0 }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let request = gateway.request(Method::POST, "/v1/spin");
    let _spinning = tokio::spawn(request.json(&body).send());
    gateway.ask_until(503, "echo", &body).await;

    let told = scrape(&gateway).await;
    assert_eq!(told.told("vendordock_calls_running"), "target=spin 1");
    assert_eq!(told.told("vendordock_calls_refused_total"), "target=echo 1");
}

#[tokio::test]
async fn no_label_has_what_a_caller_wrote() {
    let gateway = Gateway::start(ADMIN).await;
    let mut body = instance(json!({"Key-of-the-tenant": "Value-of-the-tenant"}));
    body["hostname"] = json!("Host-of-the-tenant");
    gateway.ask("echo", &body).await;
    for target in ["Name-in-the-url", "echo%22%7D", "%00", "%ff"] {
        gateway.ask(target, &body).await;
    }

    let told = scrape(&gateway).await;
    let words: Vec<&str> = told
        .label_values()
        .into_iter()
        .filter(|value| !value.is_empty() && value.parse::<f64>().is_err())
        .filter(|value| *value != env!("CARGO_PKG_VERSION"))
        .collect();
    insta::assert_snapshot!(words.join(" "), @"accepted answered bad_answer busy cached caller coalesced component_instance conflict connect core_instance cpu_time credential default denied dns done echo grace handles hit host_call_bytes instances invalid invalid_key live memory miss none offline_rejected protocol quota refused rejected response_bytes response_depth stack table table_elements timeout tls too_large too_many trap unavailable unreachable warm wrong_caller");
}

#[tokio::test]
async fn all_but_the_sign_of_life_needs_one_of_the_configured_tokens() {
    let gateway = Gateway::start(&format!("{ADMIN}{TOKENS}")).await;
    let ask = async |path: &str, authorization: &str| {
        let request = gateway.admin(Method::GET, path).await;
        Answer::to(request.header("Authorization", authorization)).await
    };

    for path in ["/metrics", "/readyz", "/log", "/", "/nowhere"] {
        for authorization in ["", "Bearer wrong", "Basic correct horse", "correct horse"] {
            let refused = ask(path, authorization).await;
            assert_eq!(refused.status, 401, "{path} {authorization}");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            assert!(!refused.body.contains("vendordock_"));
        }
    }
    let put = gateway.ask_admin(Method::PUT, "/log", "debug").await;
    assert_eq!(put.status, 401);
    for token in ["correct horse", "battery staple"] {
        let authorization = format!("Bearer {token}");
        assert_eq!(ask("/metrics", &authorization).await.status, 200);
        assert_eq!(ask("/log", &authorization).await.to_string(), "200 info\n");
    }
    assert_eq!(ask("/healthz", "").await.to_string(), "200 ok\n");
}

#[tokio::test]
async fn the_logs_levels_change_while_it_runs() {
    let gateway = Gateway::start(ADMIN).await;
    let body = instance(json!({}));
    let set = |filter: &'static str| gateway.ask_admin(Method::PUT, "/log", filter);
    let now = || gateway.ask_admin(Method::GET, "/log", "");
    gateway.ask("echo", &body).await;

    assert_eq!(set("warn").await.to_string(), "204 ");
    gateway.ask("echo", &body).await;
    assert_eq!(
        set("warn,vendordock::requests=info\n").await.to_string(),
        "204 "
    );
    let told = gateway.ask("echo", &body).await;
    gateway
        .log_line(&["was changed", "vendordock::requests=info"])
        .await;
    gateway
        .log_line(&["INFO", "cache=\"hit\"", told.request_id()])
        .await;

    let in_force = now().await.to_string();
    for (filter, status) in [("vendordock=loud", 400), (" \n", 400), ("a=b=c", 400)] {
        let refused = set(filter).await;
        assert_eq!(refused.status, status, "{filter}");
        assert!(refused.body.len() > 10, "{refused}");
    }
    let long = "x,".repeat(4_000);
    let refused = gateway.ask_admin(Method::PUT, "/log", &long).await;
    assert_eq!(refused.status, 413);
    assert_eq!(now().await.to_string(), in_force);

    assert_eq!(set("off").await.status, 204);
    gateway
        .log_line(&["is to be changed", "wanted=\"off\""])
        .await;
    let silent = gateway.ask("nowhere", &body).await.request_id().to_owned();
    let written = gateway.written().await;
    assert!(!written.contains(&silent));
    assert_eq!(written.matches("cache=\"hit\"").count(), 1, "{written}");
}

#[tokio::test]
async fn turned_up_while_it_runs_the_log_still_has_no_secret() {
    let upstream = Upstream::start().await;
    let configuration = format!(
        r#"
        {ADMIN}
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{url}"]
        {TOKENS}
        "#,
        url = upstream.url()
    );
    let directory = Directory::new().with("key", "Key-for-the-upstream");
    let gateway = Gateway::serve(directory, &configuration).await;
    let admin = async |method: Method, path: &str, body: &'static str| {
        let request = gateway.admin(method, path).await;
        let request = request.header("Authorization", "Bearer correct horse");
        Answer::to(request.body(body)).await
    };

    assert_eq!(admin(Method::PUT, "/log", "trace").await.status, 204);
    let metadata =
        json!({"url": upstream.url(), "credential": "key", "note": "Value-of-the-tenant"});
    let body = instance(metadata);
    tokio::join!(gateway.ask_as("Token-of-nova", "fetch", &body), async {
        upstream
            .next()
            .await
            .answer("200 OK", &[], "Answer-of-the-upstream")
            .await;
    });
    admin(Method::GET, "/metrics", "").await;

    let log = gateway.written().await;
    assert!(log.contains("TRACE"), "it is turned up");
    for secret in [
        "correct horse",
        "Key-for",
        "Token-of",
        "-of-the-tenant",
        "Answer-of",
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_paths_are_told_and_nothing_of_it_is_at_novas_port() {
    let gateway = Gateway::start(ADMIN).await;

    let index = gateway.ask_admin(Method::GET, "/", "").await;
    assert_eq!(index.status, 200);
    for path in ["/metrics", "/healthz", "/readyz", "/log"] {
        assert!(index.body.contains(path), "{path}");
        assert_eq!(gateway.ask_admin(Method::GET, path, "").await.status, 200);
    }
    let preflight = gateway.ask_admin(Method::OPTIONS, "/log", "").await;
    assert_eq!(preflight.status, 405);
    assert_eq!(preflight.header("access-control-allow-origin"), "");
    assert_ne!(gateway.get("/metrics").await.status, 200);
    assert_ne!(gateway.get("/log").await.status, 200);
}

#[tokio::test]
async fn what_became_of_tokens_connections_and_secrets_is_counted() {
    let (ipa, keystone) = (Ipa::start().await, callers::keystone().await);
    let directory = join::directory(&ipa, Ipa::PASSWORD).with("password", "gateway-secret");
    let configuration = format!(
        "admin.listen = \"127.0.0.1:0\"\n[keystone]\nauth_url = \"{}\"\nusername = \"vendordock\"\n\
         password = {{ file = \"password\" }}\n{}",
        keystone.url(),
        join::target(&ipa)
    );
    let gateway = Gateway::serve(directory, &configuration).await;
    let nova = callers::nova(&keystone);
    let member = keystone.issue("plain", "service", &["member"], callers::HOUR);
    let enrolling = instance(json!({"ipa_enroll": "true"}));
    for (token, expected) in [
        (&*nova, 200),
        (&nova, 200),
        (&member, 403),
        ("garbage", 401),
    ] {
        let answer = gateway.ask_as(token, "join", &enrolling).await;
        assert_eq!(answer.status, expected);
    }

    let told = scrape(&gateway).await;
    insta::assert_snapshot!(told.told("vendordock_token_validations_total"), @r"
    outcome=accepted 1
    outcome=cached 1
    outcome=rejected 1
    outcome=wrong_caller 1
    ");
    // A hit hands the secret out once more.
    insta::assert_snapshot!(told.told("vendordock_secrets_issued_total"), @"target=join 2");
    let open = told.told("vendordock_connections");
    assert!(
        open.trim().parse::<u32>().is_ok_and(|open| open > 0),
        "{open}"
    );
}
