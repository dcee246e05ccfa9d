//! What every request meets first, and what is the same for all answers: addresses, ids, shape.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::gateway::{Answer, Gateway, instance};

const ECHO: &str = r#"
    auth.require = "none"
    targets.echo = { component = "echo.wasm" }
    targets.join = { component = "echo.wasm" }
"#;

#[tokio::test]
async fn a_target_answers_at_its_address_with_and_without_version_and_join_at_novajoins_too() {
    let gateway = Gateway::start(ECHO).await;
    let mut answered = Vec::new();

    for path in ["/v1/echo", "/echo", "/v1/join", "/join", "/v1/", "/v1"] {
        let request = gateway.request(Method::POST, path);
        let answer = Answer::to(request.json(&instance(json!({})))).await;
        answered.push((path, answer.status, answer.at("/context/target")));
    }

    assert_eq!(
        answered,
        [
            ("/v1/echo", 200, json!("echo")),
            ("/echo", 200, json!("echo")),
            ("/v1/join", 200, json!("join")),
            ("/join", 200, json!("join")),
            ("/v1/", 200, json!("join")),
            ("/v1", 200, json!("join")),
        ]
    );
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own_and_the_log_knows_it() {
    let gateway = Gateway::start(ECHO).await;
    let post = |path| {
        gateway
            .request(Method::POST, path)
            .json(&instance(json!({})))
    };

    let answered = Answer::to(post("/v1/echo")).await;
    let unknown = Answer::to(post("/v1/nobody")).await;
    let wrong = Answer::to(gateway.request(Method::POST, "/v1/echo").body("{")).await;
    let nowhere = Answer::to(post("/v2/echo")).await;
    let method = gateway.get("/v1/echo").await;
    let health = gateway.get("/healthz").await;
    let readiness = gateway.get("/readyz").await;

    let all = [
        &answered, &unknown, &wrong, &nowhere, &method, &health, &readiness,
    ];
    assert_eq!(
        all.map(|answer| answer.status),
        [200, 404, 400, 404, 405, 200, 200]
    );
    for answer in all {
        let uuid = answer.request_id().strip_prefix("req-").expect("its form");
        uuid::Uuid::try_parse(uuid).expect("its form");
    }
    let ids: HashSet<&str> = all.map(Answer::request_id).into_iter().collect();
    assert_eq!(ids.len(), all.len());
    for (answer, line) in [
        (&answered, "answered"),
        (&unknown, "no target is called"),
        (&wrong, "not a vendordata request"),
        (&nowhere, "no such path"),
        (&method, "no such method"),
    ] {
        gateway.log_line(&[answer.request_id(), line]).await;
    }
}

#[tokio::test]
async fn the_plugin_and_the_log_are_told_the_id_that_nova_sees() {
    let gateway = Gateway::start(ECHO).await;

    let answer = gateway.ask("echo", &instance(json!({}))).await;

    assert_eq!(answer.at("/context/request_id"), answer.request_id());
    gateway
        .log_line(&[
            answer.request_id(),
            "echo",
            "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11",
            "039d104b7a5c4631b4ba6524d0b9e981",
        ])
        .await;
}

#[tokio::test]
async fn an_answer_is_json_in_one_piece_with_its_length() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.answers = { component = "answers.wasm" }
        "#,
    )
    .await;
    let body = instance(json!({"body": r#"{"motd": "Wilkommen"}"#})).to_string();

    let answer = gateway
        .raw(
            format!(
                "POST /v1/answers HTTP/1.1\r\nHost: vendordock\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        )
        .await;

    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let mut head: Vec<&str> = head
        .lines()
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("x-openstack-request-id: "))
        .collect();
    head.sort_unstable();
    assert_eq!(
        (head, body),
        (
            vec![
                "HTTP/1.1 200 OK",
                "connection: close",
                "content-length: 21",
                "content-type: application/json",
            ],
            r#"{"motd": "Wilkommen"}"#
        )
    );
}

#[tokio::test]
async fn what_cannot_be_answered_gets_the_body_that_nova_logs() {
    let gateway = Gateway::start(ECHO).await;
    let mut refusals = Vec::new();

    for (method, path) in [
        (Method::POST, "/v1/nobody"),
        (Method::POST, "/v2/echo"),
        (Method::POST, "/v1/echo/more"),
        (Method::POST, "/v1/%ff"),
        (Method::GET, "/v1/echo"),
        (Method::DELETE, "/v1/"),
        (Method::POST, "/healthz"),
    ] {
        let answer = Answer::to(gateway.request(method.clone(), path)).await;
        let kind = answer.header("content-type");
        let allowed = answer.header("allow");
        refusals.push(format!("{method} {path}: {kind} [{allowed}] {answer}"));
    }

    insta::assert_snapshot!(refusals.join("\n"), @r#"
    POST /v1/nobody: application/json [] 404 {"error":{"code":404,"message":"no such target: compare the name in the URL with the [targets.NAME] tables","title":"Not Found"}}
    POST /v2/echo: application/json [] 404 {"error":{"code":404,"message":"no such path: POST to /v1/TARGET, or to /v1/CLOUD/TARGET","title":"Not Found"}}
    POST /v1/echo/more: application/json [] 404 {"error":{"code":404,"message":"no such path: POST to /v1/TARGET, or to /v1/CLOUD/TARGET","title":"Not Found"}}
    POST /v1/%ff: application/json [] 404 {"error":{"code":404,"message":"no such path: POST to /v1/TARGET, or to /v1/CLOUD/TARGET","title":"Not Found"}}
    GET /v1/echo: application/json [POST] 405 {"error":{"code":405,"message":"the path has no such method","title":"Method Not Allowed"}}
    DELETE /v1/: application/json [POST] 405 {"error":{"code":405,"message":"the path has no such method","title":"Method Not Allowed"}}
    POST /healthz: application/json [GET] 405 {"error":{"code":405,"message":"the path has no such method","title":"Method Not Allowed"}}
    "#);
}
