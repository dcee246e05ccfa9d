//! Enrolment at FreeIPA, from nova's request to the host's entry and back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vendordock_stand_ins::{Ipa, Keystone, ipa};

use crate::gateway::{Gateway, instance};
use crate::program::Directory;

const FQDN: &str = "web.example.test";

/// The files that the target below needs.
pub(crate) fn directory(ipa: &Ipa, password: &str) -> Directory {
    Directory::new()
        .with("ipa-ca.pem", ipa.ca_pem())
        .with("ipa-password", format!("{password}\n"))
}

/// The target as an operator has it.
pub(crate) fn target(ipa: &Ipa) -> String {
    let (url, user) = (ipa.url(), Ipa::USER);
    format!(
        r#"
        [targets.join]
        component = "join.wasm"
        timeout_ms = 2000
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        ca_file = "ipa-ca.pem"
        [targets.join.credentials.ipa]
        secret = {{ file = "ipa-password" }}
        origins = ["{url}"]
        [targets.join.config]
        domain = "example.test"
        servers = ["{url}"]
        user = "{user}"
        "#
    )
}

async fn gateway(ipa: &Ipa) -> Gateway {
    let configuration = format!("auth.require = \"none\"\n{}", target(ipa));
    Gateway::serve(directory(ipa, Ipa::PASSWORD), &configuration).await
}

fn enrolling() -> Value {
    instance(json!({"ipa_enroll": "true"}))
}

/// What novajoin writes into the host's entry, for whoever deletes it.
fn description(instance_id: &str) -> String {
    format!(r#"{{"novajoin_metadata": {{"nova_instance_id": "{instance_id}"}}}}"#)
}

#[tokio::test]
async fn an_instance_that_asks_for_it_gets_the_password_that_ipa_holds() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;

    let answer = gateway.ask("join", &enrolling()).await;

    let otp = ipa.otp(FQDN).expect("the host waits to be enrolled");
    assert_eq!(
        answer.to_string(),
        format!(r#"200 {{"hostname":"{FQDN}","krb_realm":"EXAMPLE.TEST","ipaotp":"{otp}"}}"#)
    );
    assert!(ipa.enroll(FQDN, &otp), "and enrols with it");
    let host = ipa.host(FQDN).expect("it is there");
    let id = "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11";
    assert_eq!(host.attribute("description"), Some(&*description(id)));
    assert_eq!((ipa.count("host_add"), ipa.log_ins()), (1, 1));
}

#[tokio::test]
async fn an_instance_that_does_not_ask_gets_an_empty_object_and_ipa_is_not_bothered() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;

    for metadata in [
        json!({}),
        json!({"ipa_enroll": "yes"}),
        json!({"enroll": "true"}),
    ] {
        let answer = gateway.ask("join", &instance(metadata)).await;
        assert_eq!(answer.to_string(), "200 {}");
    }

    assert_eq!((ipa.calls(), ipa.log_ins()), (Vec::new(), 0));
}

#[tokio::test]
async fn five_requests_at_once_and_one_later_get_one_password_and_make_one_host() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let body = enrolling();
    let ask = || gateway.ask("join", &body);

    let (a, b, c, d, e) = tokio::join!(ask(), ask(), ask(), ask(), ask());
    let later = ask().await;

    let otp = ipa.otp(FQDN).expect("the host waits to be enrolled");
    let same =
        format!(r#"200 {{"hostname":"{FQDN}","krb_realm":"EXAMPLE.TEST","ipaotp":"{otp}"}}"#);
    assert_eq!(
        [a, b, c, d, e, later].map(|answer| answer.to_string()),
        [(); 6].map(|()| same.clone())
    );
    assert_eq!((ipa.count("host_add"), ipa.count("host_mod")), (1, 1));
}

#[tokio::test]
async fn while_ipa_is_in_trouble_there_is_no_password_and_afterwards_there_is() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let body = enrolling();
    let mut answers = Vec::new();

    ipa.stop().await;
    answers.push(("stopped", gateway.ask("join", &body).await));
    ipa.restart().await;
    ipa.faults().respond_with(502);
    answers.push(("behind a proxy", gateway.ask("join", &body).await));
    ipa.faults().respond_with(503);
    answers.push(("in maintenance", gateway.ask("join", &body).await));
    ipa.faults().clear();
    ipa.fail_next(4203);
    answers.push(("database", gateway.ask("join", &body).await));
    ipa.fail_next(2100);
    answers.push(("access", gateway.ask("join", &body).await));
    let started = Instant::now();
    ipa.faults().hang();
    answers.push(("hung", gateway.ask("join", &body).await));
    let hung = started.elapsed();
    ipa.faults().clear();

    let answers: Vec<String> = answers
        .into_iter()
        .map(|(when, answer)| format!("{when}: {answer}"))
        .collect();
    insta::assert_snapshot!(answers.join("\n"), @r#"
    stopped: 502 {"error":{"code":502,"message":"a service behind the plugin failed","title":"Bad Gateway"}}
    behind a proxy: 502 {"error":{"code":502,"message":"a service behind the plugin failed","title":"Bad Gateway"}}
    in maintenance: 503 {"error":{"code":503,"message":"a service behind the plugin is not available","title":"Service Unavailable"}}
    database: 502 {"error":{"code":502,"message":"a service behind the plugin failed","title":"Bad Gateway"}}
    access: 500 {"error":{"code":500,"message":"the target's configuration is at fault: the gateway's log says where","title":"Internal Server Error"}}
    hung: 504 {"error":{"code":504,"message":"a service behind the plugin was too slow","title":"Gateway Timeout"}}
    "#);
    assert!(hung < Duration::from_secs(4), "its time is 2 seconds");
    let well = gateway.ask("join", &body).await;
    assert_eq!(well.at("/ipaotp"), json!(ipa.otp(FQDN)));
}

#[tokio::test]
async fn a_password_whose_fate_is_unknown_is_not_answered() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    // A session, so that the next call is the first thing to be lost.
    gateway
        .ask("join", &{
            let mut other = enrolling();
            other["hostname"] = json!("other");
            other
        })
        .await;

    ipa.faults().lose_answers(1);
    let lost = gateway.ask("join", &enrolling()).await;
    let next = gateway.ask("join", &enrolling()).await;

    assert_eq!(lost.status, 502, "{lost}");
    assert_eq!(next.at("/ipaotp"), json!(ipa.otp(FQDN)));
}

#[tokio::test]
async fn a_session_is_used_again_and_one_that_has_ended_is_renewed_within_the_request() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let host = |name: &str| {
        let mut body = enrolling();
        body["hostname"] = json!(name);
        body["instance-id"] = json!(format!("id-of-{name}"));
        body
    };

    let mut log_ins = Vec::new();
    for (name, ends) in [
        ("one", false),
        ("two", false),
        ("three", true),
        ("four", false),
    ] {
        if ends {
            ipa.expire_sessions();
        }
        let answer = gateway.ask("join", &host(name)).await;
        assert_eq!(
            answer.at("/ipaotp"),
            json!(ipa.otp(&format!("{name}.example.test")))
        );
        log_ins.push(ipa.log_ins());
    }

    assert_eq!(log_ins, [1, 1, 2, 2]);
    assert_eq!(ipa.count("host_add"), 4);
}

#[tokio::test]
async fn a_connection_that_ipa_has_closed_meanwhile_costs_no_request() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let mut body = enrolling();
    gateway.ask("join", &body).await;
    body["hostname"] = json!("db");

    ipa.drop_connections().await;
    let answer = gateway.ask("join", &body).await;

    assert_eq!(answer.at("/ipaotp"), json!(ipa.otp("db.example.test")));
}

#[tokio::test]
async fn a_wrong_password_or_a_locked_account_is_an_error_for_the_operator() {
    let ipa = Ipa::start().await;
    let configuration = format!("auth.require = \"none\"\n{}", target(&ipa));
    let gateway = Gateway::serve(directory(&ipa, "Wrong-Password"), &configuration).await;

    let wrong = gateway.ask("join", &enrolling()).await;
    ipa.change_password("Wrong-Password");
    ipa.lock_user();
    let locked = gateway.ask("join", &enrolling()).await;
    ipa.accept_log_ins();
    let right = gateway.ask("join", &enrolling()).await;

    insta::assert_snapshot!(wrong, @r#"500 {"error":{"code":500,"message":"the target's configuration is at fault: the gateway's log says where","title":"Internal Server Error"}}"#);
    assert_eq!(locked.to_string(), wrong.to_string());
    assert_eq!(right.at("/ipaotp"), json!(ipa.otp(FQDN)));
    for (answer, reason) in [(&wrong, "invalid-password"), (&locked, "user-locked")] {
        gateway
            .log_line(&[answer.request_id(), "fault=\"operator\"", reason])
            .await;
    }
    assert!(!gateway.written().await.contains("Wrong-Password"));
}

#[tokio::test]
async fn a_host_that_is_enrolled_gets_no_new_password_and_another_instance_nothing_at_all() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let mine = "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11";
    ipa.put_host(FQDN, ipa::Host::enrolled(Some(&description(mine))));
    let mut stranger = enrolling();
    stranger["instance-id"] = json!("5a0c76b1-6c5b-4f0e-8a3c-0a1b2c3d4e5f");

    let again = gateway.ask("join", &enrolling()).await;
    let stranger = gateway.ask("join", &stranger).await;

    insta::assert_snapshot!(again, @r#"200 {"hostname":"web.example.test","krb_realm":"EXAMPLE.TEST"}"#);
    insta::assert_snapshot!(stranger, @r#"403 {"error":{"code":403,"message":"web.example.test is enrolled at FreeIPA, for instance a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11; delete the host there, or choose another name","title":"Forbidden"}}"#);
    let host = ipa.host(FQDN).expect("it is there");
    assert_eq!((host.otp, host.has_keytab), (None, true));
}

#[tokio::test]
async fn an_instance_without_a_usable_name_is_told_so_and_ipa_is_not_bothered() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let mut body = enrolling();
    body["hostname"] = json!("web_1");

    let answer = gateway.ask("join", &body).await;

    insta::assert_snapshot!(answer, @r#"400 {"error":{"code":400,"message":"/hostname: no host name: it takes letters, digits and inner hyphens, up to 63 between two dots","title":"Bad Request"}}"#);
    assert_eq!(ipa.log_ins(), 0);
}

#[tokio::test]
async fn with_keystone_in_front_nobody_but_nova_is_enrolled() {
    let (ipa, keystone) = (Ipa::start().await, Keystone::start().await);
    keystone.add_account("vendordock", "gateway-secret", "service", &["service"]);
    let directory = directory(&ipa, Ipa::PASSWORD).with("password", "gateway-secret");
    let configuration = format!(
        r#"
        [keystone]
        auth_url = "{}"
        username = "vendordock"
        password = {{ file = "password" }}
        {}
        "#,
        keystone.url(),
        target(&ipa)
    );
    let gateway = Gateway::serve(directory, &configuration).await;
    let hour = Duration::from_secs(3600);
    let tenant = keystone.issue("tenant", "demo", &["admin"], hour);
    let nova = keystone.issue("nova", "service", &["service"], hour);

    let refused = gateway.ask_as(&tenant, "join", &enrolling()).await;
    assert_eq!((refused.status, ipa.log_ins()), (403, 0));
    let answer = gateway.ask_as(&nova, "join", &enrolling()).await;
    assert_eq!(answer.at("/ipaotp"), json!(ipa.otp(FQDN)));
}
