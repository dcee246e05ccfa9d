use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Keystone;

const HOUR: Duration = Duration::from_secs(3600);

fn http() -> reqwest::Client {
    // Fails when another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn log_in(keystone: &Keystone, user: Value, project: Value) -> Response {
    let auth = json!({
        "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": project },
        }
    });
    let url = format!("{}/auth/tokens", keystone.url());
    http().post(url).json(&auth).send().await.unwrap()
}

async fn ask(keystone: &Keystone, method: Method, caller: &str, subject: &str) -> Response {
    let url = format!("{}/auth/tokens?nocatalog", keystone.url());
    let mut request = http().request(method, url);
    if !caller.is_empty() {
        request = request.header("X-Auth-Token", caller);
    }
    request
        .header("X-Subject-Token", subject)
        .send()
        .await
        .unwrap()
}

async fn status(keystone: &Keystone, caller: &str, subject: &str) -> u16 {
    ask(keystone, Method::GET, caller, subject)
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_log_in_gives_a_token_that_describes_itself() {
    let keystone = Keystone::start().await;
    keystone.add_account("nova", "secret", "service", &["admin", "service"]);
    let domain = json!({ "name": "Default" });

    let user = json!({ "name": "nova", "domain": domain, "password": "secret" });
    let project = json!({ "name": "service", "domain": { "id": "default" } });
    let response = log_in(&keystone, user, project).await;

    assert_eq!(response.status(), StatusCode::CREATED);
    let token = response.headers()["x-subject-token"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(token.len(), 183);
    let issued: Value = response.json().await.unwrap();
    assert_eq!(issued["token"]["catalog"], json!([]));

    let response = ask(&keystone, Method::GET, &token, &token).await;
    let body: Value = response.json().await.unwrap();
    let token = &body["token"];
    assert_eq!(token["user"]["name"], "nova");
    assert_eq!(token["user"]["id"], keystone.user_id("nova"));
    assert_eq!(token["project"]["id"], keystone.project_id("service"));
    assert_eq!(token["catalog"], Value::Null);
    let roles = token["roles"].as_array().unwrap().iter();
    let roles: Vec<&str> = roles.map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(roles, ["admin", "manager", "member", "reader", "service"]);
    let expires_at = token["expires_at"].as_str().unwrap();
    assert!(
        expires_at.ends_with(".000000Z") && expires_at.len() == 27,
        "{expires_at}"
    );
    assert_eq!((keystone.log_ins(), keystone.validations()), (1, 1));
}

#[tokio::test]
async fn a_log_in_with_anything_wrong_is_401() {
    let keystone = Keystone::start().await;
    keystone.add_account("nova", "secret", "service", &["service"]);
    let named = |name: &str| json!({ "name": name, "domain": { "name": "Default" } });
    let user = |name: &str, password: &str| json!({ "name": name, "domain": { "id": "default" }, "password": password });

    for (user, project) in [
        (user("nova", "wrong"), named("service")),
        (user("neutron", "secret"), named("service")),
        (user("nova", "secret"), named("demo")),
    ] {
        let response = log_in(&keystone, user, project).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = &response.headers()["www-authenticate"];
        assert_eq!(*challenge, format!("Keystone uri=\"{}\"", keystone.url()));
    }
    let by_id = json!({ "id": keystone.user_id("nova"), "password": "secret" });
    let project = json!({ "id": keystone.project_id("service") });
    assert_eq!(
        log_in(&keystone, by_id, project).await.status(),
        StatusCode::CREATED
    );
    let without_domain = json!({ "name": "nova", "password": "secret" });
    let response = log_in(&keystone, without_domain, named("service")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_may_validate_what() {
    let keystone = Keystone::start().await;
    let service = keystone.issue("vendordock", "service", &["service"], HOUR);
    let admin = keystone.issue("admin", "admin", &["admin"], HOUR);
    let plain = keystone.issue("plain", "demo", &["member"], HOUR);
    let revoked = keystone.issue("nova", "service", &["service"], HOUR);
    keystone.revoke(&revoked);
    let expired = keystone.issue("nova", "service", &["service"], Duration::ZERO);

    assert_eq!(status(&keystone, &service, &plain).await, 200);
    assert_eq!(status(&keystone, &admin, &plain).await, 200);
    assert_eq!(status(&keystone, &plain, &plain).await, 200);
    assert_eq!(status(&keystone, &plain, &service).await, 403);
    for bad in ["garbage", revoked.as_str(), expired.as_str()] {
        assert_eq!(status(&keystone, &service, bad).await, 404);
        assert_eq!(status(&keystone, bad, &service).await, 401);
        assert_eq!(status(&keystone, bad, bad).await, 401);
    }
    let response = ask(&keystone, Method::GET, "", &service).await;
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn the_role_service_may_get_a_token_and_not_check_it() {
    let keystone = Keystone::start().await;
    let service = keystone.issue("vendordock", "service", &["service"], HOUR);
    let plain = keystone.issue("plain", "demo", &["member"], HOUR);

    let response = ask(&keystone, Method::HEAD, &service, &plain).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_404_repeats_the_token_so_that_a_log_of_it_is_found_out() {
    let keystone = Keystone::start().await;
    let service = keystone.issue("vendordock", "service", &["service"], HOUR);

    let response = ask(&keystone, Method::GET, &service, "eyJ-some-token").await;

    let body: Value = response.json().await.unwrap();
    let expected = json!({
        "error": {
            "code": 404,
            "message": "Could not find token: eyJ-some-token.",
            "title": "Not Found",
        }
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_stopped_keystone_comes_back_with_its_tokens() {
    let keystone = Keystone::start().await;
    let token = keystone.issue("nova", "service", &["service"], HOUR);

    keystone.stop().await;
    let url = format!("{}/auth/tokens", keystone.url());
    assert!(http().get(&url).send().await.unwrap_err().is_connect());
    keystone.restart().await;
    assert_eq!(status(&keystone, &token, &token).await, 200);
    keystone.faults().respond_with(500);
    assert_eq!(status(&keystone, &token, &token).await, 500);
    assert_eq!(keystone.validations(), 1);
}
