//! Redirects: followed where a plugin asks for it, one checked request after the other.

use serde_json::{Value, json};

use crate::egress::{fetched, gateway, with_rules};
use crate::gateway::Gateway;
use crate::program::Directory;
use crate::upstream::Upstream;

/// Two origins, both granted, and a credential for the first.
async fn two(first: &Upstream, second: &Upstream) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        timeout_ms = 2000
        egress = [
            {{ to = "{first}", networks = ["127.0.0.0/8"] }},
            {{ to = "{second}", networks = ["127.0.0.0/8"] }},
        ]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{first}", "{second}"]
        "#,
        first = first.url(),
        second = second.url(),
    );
    Gateway::serve(Directory::new().with("key", "s3cret"), &configuration).await
}

/// One redirect, and what the next request then is.
async fn followed(from: &Upstream, to: &Upstream, gateway: &Gateway, metadata: Value) -> String {
    let status = metadata["status"]
        .as_str()
        .unwrap_or("302 Found")
        .to_owned();
    let location = format!("Location: {}/there", to.url());
    let (report, request) = tokio::join!(fetched(gateway, metadata), async {
        let first = from.next().await;
        first
            .answer(&status, &[&location, "Set-Cookie: id=1; Path=/"], "")
            .await;
        let second = to.next().await;
        let request = second.request.clone();
        second
            .answer("200 OK", &["Set-Cookie: id=2; Path=/"], "there")
            .await;
        request
    });
    assert_eq!(report["body"], "there", "{report}");
    request
}

#[tokio::test]
async fn a_redirect_is_handed_over_unless_the_plugin_asks_for_more() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = gateway(&upstream).await;
    let location = format!("Location: {}/elsewhere", other.url());

    for asked in [json!("0"), Value::Null] {
        let mut metadata = json!({"url": upstream.url(), "credential": "key"});
        if !asked.is_null() {
            metadata["max_redirects"] = asked;
        }
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            waiting.answer("302 Found", &[&location], "").await;
        });
        assert_eq!(report["status"], 302);
    }
    let metadata = json!({"url": upstream.url(), "max_redirects": "6"});
    assert_eq!(
        fetched(&gateway, metadata).await,
        json!({"error": r#"HttpError::InvalidRequest("max-redirects is 5 at most")"#})
    );
}

#[tokio::test]
async fn a_redirect_to_where_no_rule_leads_is_denied_and_never_connected_to() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = gateway(&upstream).await;

    for (location, error) in [
        (other.url(), "Denied"),
        (
            "http://169.254.169.254/latest/meta-data".to_owned(),
            "Denied",
        ),
        ("file:///etc/passwd".to_owned(), "InvalidRequest"),
        (
            upstream.url().replace("//", "//user:password@"),
            "InvalidRequest",
        ),
    ] {
        let metadata = json!({"url": upstream.url(), "max_redirects": "5"});
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            let location = format!("Location: {location}");
            waiting
                .answer("307 Temporary Redirect", &[&location], "")
                .await;
        });
        let text = report["error"].as_str().expect("an error");
        assert!(text.starts_with(&format!("HttpError::{error}")), "{text}");
    }
    assert!(!other.has_another().await);
    gateway
        .log_line(&[
            "refused a request",
            &format!("add {{ to = \"{}\"", other.url()),
        ])
        .await;
}

#[tokio::test]
async fn a_redirect_within_a_rules_path_is_followed_and_one_out_of_it_is_not() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let rules = format!(r#"{{ to = "{url}/in", networks = ["127.0.0.0/8"] }}"#);
    let gateway = with_rules(&rules, "").await;
    let metadata = json!({"url": format!("{url}/in/a"), "max_redirects": "5"});

    let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
        let first = upstream.next().await;
        first.answer("302 Found", &["Location: b"], "").await;
        let second = upstream.next().await;
        assert!(second.request.starts_with("GET /in/b "));
        second.answer("302 Found", &["Location: ../out"], "").await;
    });

    let denied = format!("this path of {url} is not granted to this target");
    assert_eq!(
        report,
        json!({"error": format!("HttpError::Denied({denied:?})")})
    );
}

#[tokio::test]
async fn a_secret_does_not_go_along_to_another_origin_and_does_not_come_back() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gateway = two(&first, &second).await;
    let metadata = json!({
        "url": first.url(),
        "credential": "key",
        "header": "x-api-key: plugin's own",
        "max_redirects": "2",
    });

    let (report, requests) = tokio::join!(fetched(&gateway, metadata), async {
        let mut requests = Vec::new();
        for (upstream, to) in [
            (&first, Some(&second)),
            (&second, Some(&first)),
            (&first, None),
        ] {
            let waiting = upstream.next().await;
            requests.push((
                waiting.header("authorization").to_owned(),
                waiting.header("x-api-key").to_owned(),
            ));
            match to {
                Some(to) => {
                    let location = format!("Location: {}", to.url());
                    waiting.answer("302 Found", &[&location], "").await;
                }
                None => waiting.answer("200 OK", &["Set-Cookie: id=1"], "").await,
            }
        }
        requests
    });

    let nothing = || (String::new(), String::new());
    let all = ("Bearer s3cret".to_owned(), "plugin's own".to_owned());
    assert_eq!(requests, [all, nothing(), nothing()]);
    assert!(
        !report["headers"].to_string().contains("set-cookie"),
        "{report}"
    );
}

#[tokio::test]
async fn a_secret_stays_with_its_origin_and_a_log_in_is_sent_once() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let mut seen = Vec::new();

    for (status, scheme) in [
        ("302 Found", "bearer"),
        ("302 Found", "form-field:password"),
        ("307 Temporary Redirect", "form-field:password"),
    ] {
        let metadata = json!({
            "url": upstream.url(),
            "method": "POST",
            "body": "user=me",
            "credential": "key",
            "scheme": scheme,
            "max_redirects": "1",
            "status": status,
        });
        let request = followed(&upstream, &upstream, &gateway, metadata).await;
        let (head, body) = request.split_once("\r\n\r\n").expect("a request");
        let line = head.lines().next().expect("a line");
        let has = |name: &str| head.contains(&format!("\r\n{name}: "));
        seen.push(format!(
            "{status} {scheme}: {line}, authorization {}, cookie {}, content-type {}, body {body:?}",
            has("authorization"),
            has("cookie"),
            has("content-type"),
        ));
    }

    insta::assert_snapshot!(seen.join("\n"), @r#"
    302 Found bearer: GET /there HTTP/1.1, authorization true, cookie false, content-type false, body ""
    302 Found form-field:password: GET /there HTTP/1.1, authorization false, cookie true, content-type false, body ""
    307 Temporary Redirect form-field:password: POST /there HTTP/1.1, authorization false, cookie true, content-type true, body "user=me&password=s3cret+%26+more"
    "#);
}

#[tokio::test]
async fn a_chain_ends_where_the_plugin_said_and_counts_as_many_requests() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let rules = format!(r#"{{ to = "{url}", networks = ["127.0.0.0/8"] }}"#);
    let gateway = with_rules(&rules, "egress_limits = { requests = 3 }").await;

    for (max_redirects, hops, expected) in [
        ("2", 3, json!({"status": 302})),
        ("5", 3, json!({"error": "HttpError::TooManyRequests"})),
    ] {
        let metadata = json!({"url": url, "max_redirects": max_redirects});
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            for _ in 0..hops {
                let waiting = upstream.next().await;
                waiting.answer("302 Found", &["Location: /next"], "").await;
            }
        });
        let key = if report["error"].is_null() {
            "status"
        } else {
            "error"
        };
        assert_eq!(json!({key: report[key]}), expected);
    }
}
