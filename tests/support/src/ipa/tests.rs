//! What every client meets: log-in, sessions, JSON-RPC, and the switches of a test.

mod commands;

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Ipa, Rejection};

/// A client that does everything right, unless a test says otherwise.
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn new(ipa: &Ipa) -> Self {
        // Fails when another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(ipa.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .cookie_store(true)
            // A connection that the server cut meanwhile would fail otherwise than a new one.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap();
        let url = ipa.url();
        Self { http, url }
    }

    async fn logged_in(ipa: &Ipa) -> Self {
        let client = Self::new(ipa).await;
        let response = client.log_in(Ipa::PASSWORD).await;
        assert_eq!(response.status(), StatusCode::OK);
        client
    }

    async fn log_in(&self, password: &str) -> Response {
        let form = [("user", Ipa::USER), ("password", password)];
        let request = self.post("/ipa/session/login_password").form(&form);
        request.send().await.unwrap()
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.url));
        request.header("Referer", "https://localhost/ipa")
    }

    async fn rpc(&self, body: &Value) -> Response {
        let request = self.post("/ipa/session/json").json(body);
        request.send().await.unwrap()
    }

    /// The whole answer of a call with a version.
    async fn call(&self, method: &str, args: Value, mut options: Value) -> Value {
        options["version"] = json!("2.146");
        let body = json!({ "method": method, "params": [args, options], "id": 0 });
        let response = self.rpc(&body).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    fn add_host(&self, fqdn: &str) -> reqwest::RequestBuilder {
        let body = json!({ "method": "host_add", "params": [[fqdn], { "force": true }], "id": 0 });
        self.post("/ipa/session/json").json(&body)
    }

    async fn error(&self, method: &str, args: Value, options: Value) -> (u64, String) {
        error_of(&self.call(method, args, options).await)
    }
}

fn error_of(answer: &Value) -> (u64, String) {
    assert_eq!(answer["result"], Value::Null, "{answer}");
    let error = &answer["error"];
    (
        error["code"].as_u64().unwrap(),
        error["message"].as_str().unwrap().to_owned(),
    )
}

const HOST: &str = "vm.example.test";

#[tokio::test]
async fn nothing_is_served_without_the_servers_name_in_the_referer() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    let ping = json!({ "method": "ping", "params": [[], {}], "id": 0 });

    for path in ["/ipa/session/login_password", "/ipa/session/json"] {
        let url = format!("{}{path}", ipa.url());
        for referer in [
            None,
            Some("http://localhost/ipa"),
            Some("https://127.0.0.1/ipa"),
            Some("https://localhost:443/ipa"),
            Some("https://localhost/"),
        ] {
            let mut request = client.http.post(&url).json(&ping);
            if let Some(referer) = referer {
                request = request.header("Referer", referer);
            }
            let status = request.send().await.unwrap().status();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {referer:?}");
        }
    }
    assert_eq!(ipa.log_ins(), 1);
    assert!(ipa.calls().is_empty());
}

#[tokio::test]
async fn a_log_in_is_a_form_with_user_and_password_once() {
    let ipa = Ipa::start().await;
    let client = Client::new(&ipa).await;
    let form = "application/x-www-form-urlencoded";

    for (content_type, body) in [
        ("application/json", r#"{"user":"vendordock"}"#),
        (form, "user=vendordock"),
        (form, "user=vendordock&password="),
        (form, "password=x"),
        (form, "user=vendordock&user=admin&password=x"),
    ] {
        let request = client.post("/ipa/session/login_password");
        let request = request.header("Content-Type", content_type).body(body);
        let status = request.send().await.unwrap().status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(ipa.log_ins(), 0);
}

#[tokio::test]
async fn a_refused_log_in_says_why_in_a_header() {
    let ipa = Ipa::start().await;
    let client = Client::new(&ipa).await;
    let reason = |response: Response| {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().get("set-cookie").is_none());
        let reason = &response.headers()["x-ipa-rejection-reason"];
        reason.to_str().unwrap().to_owned()
    };

    assert_eq!(reason(client.log_in("wrong").await), "invalid-password");
    ipa.lock_user();
    assert_eq!(reason(client.log_in(Ipa::PASSWORD).await), "user-locked");
    ipa.reject_log_ins(Rejection::PasswordExpired);
    assert_eq!(
        reason(client.log_in(Ipa::PASSWORD).await),
        "password-expired"
    );
    ipa.accept_log_ins();
    ipa.change_password("other");
    assert_eq!(
        reason(client.log_in(Ipa::PASSWORD).await),
        "invalid-password"
    );
    let response = client.log_in("other").await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.starts_with("ipa_session=MagBearerToken="),
        "{cookie}"
    );
    assert!(
        cookie.ends_with("%3d; path=/ipa; httponly; secure; SameSite=strict"),
        "{cookie}"
    );
    assert_eq!(ipa.log_ins(), 5);
}

#[tokio::test]
async fn without_a_live_session_there_is_an_empty_401() {
    let ipa = Ipa::start().await;
    let ping = json!({ "method": "ping", "params": [[], {}], "id": 0 });

    let stranger = Client::new(&ipa).await.rpc(&ping).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.text().await.unwrap(), "");

    let client = Client::logged_in(&ipa).await;
    let first = client.rpc(&ping).await;
    assert!(
        first.headers().contains_key("set-cookie"),
        "each answer renews the cookie"
    );
    assert_eq!(client.rpc(&ping).await.status(), StatusCode::OK);
    ipa.expire_sessions();
    assert_eq!(client.rpc(&ping).await.status(), StatusCode::UNAUTHORIZED);
    client.log_in(Ipa::PASSWORD).await;
    assert_eq!(client.rpc(&ping).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_call_is_told_so_with_status_200() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;

    for (body, message) in [
        (json!([]), "Request must be a dict"),
        (
            json!({ "params": [[], {}] }),
            "Request is missing \"method\"",
        ),
        (json!({ "method": "ping" }), "Request is missing \"params\""),
        (
            json!({ "method": "ping", "params": {} }),
            "params must be a list",
        ),
        (
            json!({ "method": "ping", "params": [[]] }),
            "params must contain [args, options]",
        ),
        (
            json!({ "method": "ping", "params": ["x", {}] }),
            "params[0] (aka args) must be a list",
        ),
        (
            json!({ "method": "ping", "params": [[], []] }),
            "params[1] (aka options) must be a dict",
        ),
    ] {
        let response = client.rpc(&body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let error = error_of(&response.json().await.unwrap());
        assert_eq!(error, (909, format!("Invalid JSON-RPC request: {message}")));
    }
    let request = client
        .post("/ipa/session/json")
        .header("Content-Type", "text/plain");
    let response = request
        .body(r#"{"method":"ping","params":[[],{}]}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(error_of(&response.json().await.unwrap()).0, 905);
}

#[tokio::test]
async fn a_call_without_a_version_is_warned_and_one_of_another_major_refused() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    let ping = |options: Value| {
        let body = json!({ "method": "ping/1", "params": [[], options], "id": 7 });
        let client = &client;
        async move { client.rpc(&body).await.json::<Value>().await.unwrap() }
    };

    let answer = ping(json!({})).await;
    assert_eq!(answer["id"], 7);
    assert_eq!(answer["result"]["messages"][0]["code"], 13001);
    let answer = ping(json!({ "version": "2.999" })).await;
    assert_eq!(answer["result"]["messages"], Value::Null);
    for version in ["3.0", "1.9", "2", ""] {
        assert_eq!(error_of(&ping(json!({ "version": version })).await).0, 901);
    }
}

#[tokio::test]
async fn a_test_sees_the_calls_and_no_password_in_them() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;

    let options = json!({ "userpassword": "hunter2", "force": true });
    client
        .call("host_add", json!([HOST]), options.clone())
        .await;
    let members =
        json!([{ "method": "host_mod", "params": [[HOST], { "userpassword": "hunter2" }] }]);
    client.call("batch", json!([members]), json!({})).await;

    let calls = ipa.calls();
    assert_eq!(
        (
            ipa.count("host_add"),
            ipa.count("batch"),
            ipa.count("host_mod")
        ),
        (1, 1, 0)
    );
    assert_eq!(calls[0].args, [json!(HOST)]);
    assert_eq!(calls[0].options["userpassword"], "********");
    assert!(!format!("{calls:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_test_can_have_any_error() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    let force = || json!({ "force": true });

    ipa.fail_next(4203);
    assert_eq!(client.error("ping", json!([]), json!({})).await.0, 4203);
    assert_eq!(
        client.call("ping", json!([]), json!({})).await["error"],
        Value::Null
    );

    ipa.reject("host_add", 2100);
    for _ in 0..2 {
        assert_eq!(
            client.error("host_add", json!([HOST]), force()).await.0,
            2100
        );
    }
    ipa.accept("host_add");
    let answer = client.call("host_add", json!([HOST]), force()).await;
    assert_eq!(answer["error"], Value::Null);
}

#[tokio::test]
async fn trouble_below_the_protocol_comes_and_goes() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    let post = || client.add_host(HOST);

    ipa.faults().respond_with(503);
    assert_eq!(post().send().await.unwrap().status(), 503);
    ipa.faults().clear();

    ipa.faults().hang();
    let hanging = post().timeout(Duration::from_millis(100)).send().await;
    assert!(hanging.unwrap_err().is_timeout());
    ipa.faults().clear();

    ipa.faults().delay(Duration::from_millis(100));
    let delayed = post().timeout(Duration::from_millis(50)).send().await;
    assert!(delayed.unwrap_err().is_timeout());
    ipa.faults().clear();

    assert_eq!(ipa.count("host_add"), 0, "none of it was acted on");
    assert_eq!(post().send().await.unwrap().status(), 200);
    assert_eq!(ipa.count("host_add"), 1);
}

#[tokio::test]
async fn a_stopped_server_refuses_connections_and_comes_back_as_it_was() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;

    for _ in 0..3 {
        ipa.stop().await;
        let refused = client.add_host(HOST).send().await;
        assert!(refused.unwrap_err().is_connect());
        ipa.restart().await;
        assert_eq!(client.add_host(HOST).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_lost_answer_was_acted_on() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;

    ipa.faults().lose_answers(1);
    assert!(client.add_host(HOST).send().await.is_err());

    assert!(ipa.host(HOST).is_some());
    let response = client.add_host(HOST).send().await.unwrap();
    assert_eq!(error_of(&response.json().await.unwrap()).0, 4002);
}

#[tokio::test]
async fn connections_can_be_cut() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    ipa.faults().hang();

    let cut = async {
        loop {
            tokio::task::yield_now().await;
            ipa.drop_connections().await;
        }
    };

    tokio::select! {
        answer = client.add_host(HOST).send() => assert!(answer.is_err()),
        () = cut => {}
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_handshake_holds_up_nobody() {
    let ipa = Ipa::start().await;
    let address = ipa.url().replace("https://localhost", "127.0.0.1");
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();

    Client::logged_in(&ipa).await;
    drop(silent);
}

#[tokio::test]
async fn a_client_must_trust_this_very_authority() {
    let (ipa, other) = (Ipa::start().await, Ipa::start().await);
    let mut client = Client::new(&other).await;
    client.url = ipa.url();

    let request = client.post("/ipa/session/json").send().await;

    assert!(request.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    drop(ipa);

    let refused = async { while client.post("/ipa/session/json").send().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .unwrap();
}
