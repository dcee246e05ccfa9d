//! Secrets on the wire: put there by the gateway, for a plugin that never sees them.

use serde_json::json;

use crate::egress::{fetched, gateway};
use crate::gateway::Gateway;
use crate::program::Directory;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_credential_goes_on_the_wire_as_asked_and_the_plugin_does_not_see_it() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let mut seen = Vec::new();

    for (scheme, header) in [
        ("bearer", "authorization"),
        ("basic:alice", "authorization"),
        ("header:x-key", "x-key"),
        ("form-field:password", "content-type"),
    ] {
        let metadata = json!({
            "url": upstream.url(),
            "method": "POST",
            "body": "user=alice",
            "credential": "key",
            "scheme": scheme,
        });
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            let (_, body) = waiting.request.split_once("\r\n\r\n").expect("a request");
            seen.push(format!("{scheme}: {} / {body}", waiting.header(header)));
            waiting.answer("200 OK", &["Date: today"], "welcome").await;
        });
        assert_eq!(
            report,
            json!({
                "status": 200,
                "headers": [["connection", "close"], ["content-length", "7"], ["date", "today"]],
                "body": "welcome",
            })
        );
    }

    insta::assert_snapshot!(seen.join("\n"), @r#"
    bearer: Bearer s3cret & more / user=alice
    basic:alice: Basic YWxpY2U6czNjcmV0ICYgbW9yZQ== / user=alice
    header:x-key: s3cret & more / user=alice
    form-field:password: application/x-www-form-urlencoded / user=alice&password=s3cret+%26+more
    "#);
}

#[tokio::test]
async fn a_credential_goes_to_its_own_origins_only() {
    let (own, other) = (Upstream::start().await, Upstream::start().await);
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{own}", networks = ["127.0.0.0/8"] }},
            {{ to = "{other}", networks = ["127.0.0.0/8"] }},
        ]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{own}"]
        "#,
        own = own.url(),
        other = other.url(),
    );
    let gateway = Gateway::serve(Directory::new().with("key", "s3cret"), &configuration).await;

    let report = fetched(&gateway, json!({"url": other.url(), "credential": "key"})).await;
    let unknown = fetched(&gateway, json!({"url": own.url(), "credential": "lock"})).await;

    let what = format!("credential `key` at {}", other.url());
    let denied = format!(r#"HttpError::Denied("{what} is not granted to this target")"#);
    assert_eq!(report, json!({"error": denied}));
    assert_eq!(
        unknown,
        json!({"credential_error": "CredentialError::NotGranted"})
    );
    let (_, ()) = tokio::join!(fetched(&gateway, json!({"url": other.url()})), async {
        let first = other.next().await;
        assert_eq!(first.header("authorization"), "");
        first.answer("200 OK", &[], "").await;
    });
}

#[tokio::test]
async fn cookies_of_a_log_in_stay_in_the_gateway_and_go_back_with_the_session_only() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let mut cookies = Vec::new();

    for (credential, scheme) in [
        (Some("key"), "session"),
        (Some("key"), "form-field:password"),
        (Some("key"), "session"),
        (None, ""),
    ] {
        let mut metadata = json!({"url": upstream.url(), "method": "POST", "scheme": scheme});
        if let Some(credential) = credential {
            metadata["credential"] = json!(credential);
        }
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            cookies.push(waiting.header("cookie").to_owned());
            let set = format!("Set-Cookie: id=from-{}; Path=/", cookies.len());
            waiting.answer("200 OK", &[&set], "").await;
        });
        let headers = report["headers"].to_string();
        assert_eq!(
            headers.contains("set-cookie"),
            credential.is_none(),
            "{headers}"
        );
    }

    assert_eq!(cookies, ["", "id=from-1", "id=from-2", ""]);
}

#[tokio::test]
async fn a_plugin_cannot_set_the_headers_that_say_who_and_whereto() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    for header in [
        "Host: evil.test",
        "Cookie: id=1",
        "Authorization: Bearer x",
        "Content-Length: 0",
    ] {
        let report = fetched(&gateway, json!({"url": upstream.url(), "header": header})).await;
        let name = header.split(':').next().expect("a name").to_lowercase();
        let invalid =
            format!(r#"HttpError::InvalidRequest("the header `{name}` is the gateway's to set")"#);
        assert_eq!(report, json!({"error": invalid}));
    }
}
