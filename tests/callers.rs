//! Who is let in, by what keystone says of the token.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use vendordock_stand_ins::{Authority, Keystone};

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A keystone that knows the gateway's account.
pub(crate) async fn keystone() -> Keystone {
    let keystone = Keystone::start().await;
    keystone.add_account("vendordock", "gateway-secret", "service", &["service"]);
    keystone
}

/// A gateway that asks it, with these lines more in `[keystone]`.
pub(crate) async fn gateway(keystone: &Keystone, more: &str) -> Gateway {
    let directory = Directory::new().with("password", "gateway-secret\n");
    let configuration = format!(
        r#"
        [targets.echo]
        component = "echo.wasm"
        timeout_ms = 2000
        config = {{ scope = "instance", ttl_ms = 600000 }}
        [keystone]
        auth_url = "{}"
        username = "vendordock"
        password = {{ file = "password" }}
        {more}
        "#,
        keystone.url()
    );
    Gateway::serve(directory, &configuration).await
}

/// A token of nova's own.
pub(crate) fn nova(keystone: &Keystone) -> String {
    keystone.issue("nova", "service", &["service"], HOUR)
}

#[tokio::test]
async fn novas_token_is_let_in_and_asked_about_once() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let token = nova(&keystone);
    let body = instance(json!({}));

    let first = gateway.ask_as(&token, "echo", &body).await;
    let second = gateway.ask_as(&token, "echo", &body).await;

    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((keystone.validations(), keystone.log_ins()), (1, 1));
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_401_and_a_token_that_proves_the_wrong_thing_403() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let revoked = nova(&keystone);
    keystone.revoke(&revoked);
    let mut answers = Vec::new();

    for (whose, token) in [
        ("nova", nova(&keystone)),
        ("nobody's", "gAAAAABgarbage".to_owned()),
        ("an empty one", String::new()),
        ("too long a one", "x".repeat(10_000)),
        ("a revoked one", revoked),
        (
            "an expired one",
            keystone.issue("nova", "service", &["service"], Duration::ZERO),
        ),
        (
            "a member's",
            keystone.issue("plain", "service", &["member"], HOUR),
        ),
        (
            "another project's admin's",
            keystone.issue("adminother", "demo", &["admin"], HOUR),
        ),
        (
            "another project's service's",
            keystone.issue("other", "demo", &["service"], HOUR),
        ),
    ] {
        let answer = gateway.ask_as(&token, "echo", &instance(json!({}))).await;
        let (status, challenge) = (answer.status, answer.header("www-authenticate"));
        let message = match status {
            200 => json!("let in"),
            _ => answer.at("/error/message"),
        };
        answers.push(format!("{whose}: {status} [{challenge}] {message}"));
    }
    let none = gateway.ask("echo", &instance(json!({}))).await;
    answers.push(format!(
        "none: {} {}",
        none.status,
        none.at("/error/message")
    ));

    insta::assert_snapshot!(answers.join("\n"), @r#"
    nova: 200 [] "let in"
    nobody's: 401 [Keystone] "the token is invalid or expired"
    an empty one: 401 [Keystone] "no X-Auth-Token: nova sends one when [vendordata_dynamic_auth] is configured"
    too long a one: 401 [Keystone] "the token is invalid or expired"
    a revoked one: 401 [Keystone] "the token is invalid or expired"
    an expired one: 401 [Keystone] "the token is invalid or expired"
    a member's: 403 [] "the token is good, but this target does not accept its user, roles and project"
    another project's admin's: 403 [] "the token is good, but this target does not accept its user, roles and project"
    another project's service's: 403 [] "the token is good, but this target does not accept its user, roles and project"
    none: 401 "no X-Auth-Token: nova sends one when [vendordata_dynamic_auth] is configured"
    "#);
    gateway
        .log_line(&[
            "refused",
            &keystone.user_id("plain"),
            "member",
            "wanted is any of the roles service",
        ])
        .await;
}

#[tokio::test]
async fn whose_token_is_good_is_the_operators_choice() {
    let keystone = keystone().await;
    let accept = format!(
        r#"accept = {{ roles = ["admin", "vendordata"], projects = [{{ id = "{}" }}, {{ name = "ops", domain = "Default" }}] }}"#,
        keystone.project_id("demo")
    );
    let gateway = gateway(&keystone, &accept).await;
    let mut statuses = Vec::new();

    for (project, role) in [
        ("demo", "admin"),
        ("ops", "vendordata"),
        ("demo", "service"),
        ("service", "service"),
        ("service", "admin"),
    ] {
        let token = keystone.issue("somebody", project, &[role], HOUR);
        let answer = gateway.ask_as(&token, "echo", &instance(json!({}))).await;
        statuses.push((project, role, answer.status));
    }

    assert_eq!(
        statuses,
        [
            ("demo", "admin", 200),
            ("ops", "vendordata", 200),
            ("demo", "service", 403),
            ("service", "service", 403),
            ("service", "admin", 403),
        ]
    );
}

#[tokio::test]
async fn a_stranger_learns_neither_what_was_answered_nor_which_targets_there_are() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let body = instance(json!({}));
    // Kept from now on.
    let answered = gateway.ask_as(&nova(&keystone), "echo", &body).await;
    assert_eq!(answered.status, 200);

    let kept = gateway.ask("echo", &body).await;
    let unknown = gateway.ask("nobody", &body).await;
    let wrong = gateway.request(Method::POST, "/v1/echo").body("{");
    let wrong = Answer::to(wrong).await;

    assert_eq!(kept.status, 401);
    assert_eq!(
        [unknown.to_string(), wrong.to_string()],
        [kept.to_string(), kept.to_string()]
    );
}

#[tokio::test]
async fn requests_that_come_at_once_with_a_new_token_ask_keystone_once() {
    let keystone = keystone().await;
    keystone.faults().delay(Duration::from_millis(200));
    let gateway = gateway(&keystone, "").await;
    let token = nova(&keystone);
    let body = instance(json!({}));
    let ask = || gateway.ask_as(&token, "echo", &body);

    let answers = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());

    let (a, b, c, d, e, f) = answers;
    assert_eq!([a, b, c, d, e, f].map(|answer| answer.status), [200; 6]);
    assert_eq!((keystone.validations(), keystone.log_ins()), (1, 1));
}

#[tokio::test]
async fn a_token_is_not_believed_beyond_its_expiry() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let life = Duration::from_secs(3);
    let issued = Instant::now();
    let token = keystone.issue("nova", "service", &["service"], life);
    let body = instance(json!({}));

    // Kept answers cost no time to speak of.
    let mut answers = 0;
    let refusal = loop {
        let asked = issued.elapsed();
        let answer = gateway.ask_as(&token, "echo", &body).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(asked < life, "let in after {asked:?}");
        answers += 1;
    };

    assert_eq!(refusal.status, 401);
    assert!(answers > 1, "let in before");
}

#[tokio::test]
async fn a_revoked_token_is_believed_no_longer_than_configured() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "token_cache_ms = 0").await;
    let token = nova(&keystone);
    let body = instance(json!({}));

    let before = gateway.ask_as(&token, "echo", &body).await;
    keystone.revoke(&token);
    let after = gateway.ask_as(&token, "echo", &body).await;

    assert_eq!((before.status, after.status), (200, 401));
}

#[tokio::test]
async fn keystones_certificate_must_be_of_the_operators_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let keystone = Keystone::start_tls(&authority).await;
    keystone.add_account("vendordock", "gateway-secret", "service", &["service"]);
    let mut statuses = Vec::new();

    for trusted in [&authority, &other] {
        let directory = Directory::new()
            .with("password", "gateway-secret")
            .with("ca.pem", trusted.ca_pem());
        let configuration = format!(
            "targets.echo.component = \"echo.wasm\"\n[keystone]\nauth_url = \"{}\"\nca_file = \"ca.pem\"\n\
             username = \"vendordock\"\npassword = {{ file = \"password\" }}\n",
            keystone.url()
        );
        let gateway = Gateway::serve(directory, &configuration).await;
        let answer = gateway
            .ask_as(&nova(&keystone), "echo", &instance(json!({})))
            .await;
        statuses.push(answer.status);
    }

    assert_eq!(statuses, [200, 503]);
    assert_eq!(keystone.log_ins(), 1, "the password went to one only");
}
