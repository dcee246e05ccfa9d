//! What a request may bring, and what it is told when it brings something else.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vendordock_stand_ins::Keystone;

use crate::gateway::{Answer, Gateway, instance};
use crate::program::Directory;

const ECHO: &str = r#"
    auth.require = "none"
    targets.echo = { component = "echo.wasm" }
"#;

/// So many arrays, each in the other.
fn deep(levels: usize) -> Value {
    (0..levels).fold(json!("x"), |inner, _| json!([inner]))
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused_with_what_is_wrong() {
    let gateway = Gateway::start(ECHO).await;
    let with = |member: &str, value: Value| {
        let mut body = instance(json!({}));
        body[member] = value;
        body.to_string()
    };
    let mut refusals = Vec::new();

    for body in [
        String::new(),
        "#cloud-config".to_owned(),
        "[]".to_owned(),
        r#"{"project-id": "p", "instance-id": "i""#.to_owned(),
        r#"{"instance-id": "i"}"#.to_owned(),
        with("instance-id", json!(7)),
        with("project-id", json!("")),
        with("hostname", json!({})),
        with("metadata", json!([])),
        with("metadata", json!({"ipa_enroll": true})),
        with("boot-roles", json!(["member"])),
        with("user-data", json!(["IyEvYmluL3NoCg=="])),
        r#"{"project-id": "p", "instance-id": "i", "instance-id": "j"}"#.to_owned(),
        r#"{"project-id": "p", "instance-id": "i", "metadata": {"a": "1", "a": "2"}}"#.to_owned(),
        r#"{"project-id": "p", "instance-id": "i", "new": {"a": {"b": 1, "b": 2}}}"#.to_owned(),
        with("new", deep(40)),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let answer = Answer::to(gateway.request(Method::POST, "/v1/echo").body(body)).await;
        refusals.push(format!("{} {}", answer.status, answer.at("/error/message")));
    }

    insta::assert_snapshot!(refusals.join("\n"), @r#"
    400 "the body is not a vendordata request: EOF while parsing a value at line 1 column 0"
    400 "the body is not a vendordata request: expected value at line 1 column 1"
    400 "the body is not a vendordata request: invalid type: sequence, expected an object with `instance-id` and `project-id` at line 1 column 0"
    400 "the body is not a vendordata request: EOF while parsing an object at line 1 column 38"
    400 "the body is not a vendordata request: `project-id` is missing or empty at line 1 column 20"
    400 "the body is not a vendordata request: `instance-id`: invalid type: integer, expected a string at line 1 column 112"
    400 "the body is not a vendordata request: `project-id` is missing or empty at line 1 column 197"
    400 "the body is not a vendordata request: `hostname`: invalid type: map, expected a string at line 1 column 41"
    400 "the body is not a vendordata request: `metadata`: invalid type: sequence, expected an object of strings at line 1 column 161"
    400 "the body is not a vendordata request: `metadata`: invalid type: boolean, expected a string at line 1 column 179"
    400 "the body is not a vendordata request: `boot-roles`: invalid type: sequence, expected a string at line 1 column 14"
    400 "the body is not a vendordata request: `user-data`: expected a string or null at line 1 column 245"
    400 "the body is not a vendordata request: a member stands there twice at line 1 column 59"
    400 "the body is not a vendordata request: `metadata`: a key stands there twice at line 1 column 72"
    400 "the body is not a vendordata request: a member that nova does not send today: a key stands there twice at line 1 column 71"
    400 "the body is not a vendordata request: a member that nova does not send today: nested deeper than 32 at line 1 column 253"
    400 "the body is not a vendordata request: invalid type: sequence, expected an object with `instance-id` and `project-id` at line 1 column 0"
    "#);
}

#[tokio::test]
async fn a_member_that_nova_may_add_one_day_reaches_the_plugin() {
    let gateway = Gateway::start(ECHO).await;
    let mut body = instance(json!({"role": "db"}));
    body["availability-zone"] = json!({"name": "az1", "aggregates": [1, 2]});

    let answer = gateway.ask("echo", &body).await;

    assert_eq!(answer.at("/raw"), body);
}

#[tokio::test]
async fn an_instance_from_a_volume_without_user_data_or_name_is_a_request_like_any_other() {
    let gateway = Gateway::start(ECHO).await;
    let body = json!({
        "project-id": "p",
        "instance-id": "i",
        "image-id": "",
        "user-data": null,
        "hostname": null,
        "metadata": {},
        "boot-roles": "",
    });

    let answer = gateway.ask("echo", &body).await;

    assert_eq!(
        answer.at("/instance"),
        json!({
            "id": "i",
            "project_id": "p",
            "hostname": null,
            "image_id": null,
            "user_data": null,
            "metadata": {},
            "boot_roles": [],
        })
    );
}

#[tokio::test]
async fn the_longest_user_data_that_nova_takes_is_accepted() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        [targets.echo]
        component = "echo.wasm"
        user_data = true
        response_bytes = 1048576
        "#,
    )
    .await;
    let mut body = instance(json!({}));
    // 65 535 characters are the limit of nova's API, and base64 comes in fours.
    body["user-data"] = json!("Iy0t".repeat(16_383));

    let answer = gateway.ask("echo", &body).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.at("/instance/user_data"),
        json!("#--".repeat(16_383))
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_announced_or_not() {
    let gateway = Gateway::start(
        r#"
        server.body_limit_bytes = 1000
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let fits = instance(json!({"filler": "x".repeat(600)})).to_string();
    let too_long = instance(json!({"filler": "x".repeat(800)})).to_string();
    let head = "POST /v1/echo HTTP/1.1\r\nHost: vendordock\r\nConnection: close\r\n";

    let mut statuses = Vec::new();
    for body in [&fits, &too_long] {
        let length = body.len();
        for request in [
            format!("{head}Content-Length: {length}\r\n\r\n{body}"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let answer = gateway.raw(request.as_bytes()).await;
            statuses.push(answer.lines().next().unwrap_or_default().to_owned());
        }
    }

    assert_eq!(
        statuses,
        [
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 413 Payload Too Large",
            "HTTP/1.1 413 Payload Too Large",
        ]
    );
}

#[tokio::test]
async fn a_caller_without_token_is_refused_before_the_body_is_read() {
    let keystone = Keystone::start().await;
    let directory = Directory::new().with("password", "unused");
    let gateway = Gateway::serve(
        directory,
        &format!(
            r#"
            [keystone]
            auth_url = "{}"
            username = "vendordock"
            password = {{ file = "password" }}
            [targets.echo]
            component = "echo.wasm"
            timeout_ms = 60000
            "#,
            keystone.url()
        ),
    )
    .await;

    // The body is announced, and never sent.
    let answer = gateway
        .raw(
            b"POST /v1/echo HTTP/1.1\r\nHost: vendordock\r\nContent-Length: 200000\r\n\
              Expect: 100-continue\r\n\r\n",
        )
        .await;

    let status = answer.lines().next();
    assert_eq!(status, Some("HTTP/1.1 401 Unauthorized"), "{answer}");
}

#[tokio::test]
async fn a_body_that_never_arrives_ends_at_the_deadline_and_holds_up_nobody() {
    let gateway = Gateway::start(
        r#"
        server.workers = 1
        auth.require = "none"
        targets.echo = { component = "echo.wasm", timeout_ms = 500 }
        "#,
    )
    .await;
    let mut slow = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    slow.write_all(b"POST /v1/echo HTTP/1.1\r\nHost: vendordock\r\nContent-Length: 400\r\n\r\n{")
        .await
        .expect("it reads");

    let other = gateway.ask("echo", &instance(json!({}))).await;
    let mut answer = String::new();
    slow.read_to_string(&mut answer)
        .await
        .expect("an answer, then the end of the connection");

    assert_eq!(other.status, 200);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    insta::assert_snapshot!(body, @r#"{"error":{"code":408,"message":"the body did not arrive whole","title":"Request Timeout"}}"#);
}
