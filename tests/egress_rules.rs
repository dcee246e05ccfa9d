//! What a rule lets through: by host, port, method and path, within its limits and those of a call.

use serde_json::json;

use crate::egress::{fetched, with_rules};
use crate::program::Directory;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_rule_is_for_its_methods_and_its_path_and_the_log_says_which_would_do() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let rules =
        format!(r#"{{ to = "{url}/api/v1", methods = ["GET"], networks = ["127.0.0.0/8"] }}"#);
    let gateway = with_rules(&rules, "").await;

    for (method, path, what, path_to_add) in [
        ("POST", "/api/v1/x", format!("POST to {url}"), "/api/v1"),
        (
            "GET",
            "/api/v2/tenant/7?secret",
            format!("this path of {url}"),
            "/api/v2",
        ),
        (
            "GET",
            "/api/v1/../../x",
            format!("this path of {url}"),
            "/x",
        ),
        (
            "GET",
            "/api/v1/%2e%2e/%2E%2e/x",
            format!("this path of {url}"),
            "/x",
        ),
        ("GET", "/api/v1x", format!("this path of {url}"), "/api/v1x"),
        (
            "GET",
            "/api/v1/..%2f..%2fx",
            format!("this path of {url}"),
            "",
        ),
        (
            "GET",
            "/api/v1/%252e%252e/x",
            format!("this path of {url}"),
            "",
        ),
        ("GET", "/api/v1/..;/x", format!("this path of {url}"), ""),
    ] {
        let metadata = json!({"url": format!("{url}{path}"), "method": method});
        let report = fetched(&gateway, metadata).await;

        let denied = format!(r#"HttpError::Denied("{what} is not granted to this target")"#);
        assert_eq!(report, json!({"error": denied}), "{path}");
        let rule = format!(
            r#"add {{ to = "{url}{path_to_add}", methods = ["{method}"], networks = ["127.0.0.0/8"] }} to"#
        );
        gateway.log_line(&["refused a request", &rule]).await;
    }

    let metadata = json!({"url": format!("{url}/api/v1/a/../b?c=d#e")});
    let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
        let first = upstream.next().await;
        assert!(first.request.starts_with("GET /api/v1/b?c=d HTTP/1.1\r\n"));
        first.answer("200 OK", &[], "").await;
    });
    assert_eq!(report["status"], 200);
}

#[tokio::test]
async fn a_star_covers_one_label_and_an_origin_alone_covers_all_of_it() {
    let upstream = Upstream::start().await;
    let port = upstream
        .url()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let rules = format!(r#"{{ to = "http://*.example.test:{port}", networks = ["127.0.0.0/8"] }}"#);
    let names =
        r#"resolve = { "a.example.test" = ["127.0.0.1"], "a.b.example.test" = ["127.0.0.1"] }"#;
    let gateway = with_rules(&rules, names).await;

    let deep = json!({"url": format!("http://a.b.example.test:{port}/")});
    let deep = fetched(&gateway, deep).await;
    let metadata = json!({"url": format!("http://A.example.test:{port}/x"), "method": "DELETE"});
    let (one, host) = tokio::join!(fetched(&gateway, metadata), async {
        let first = upstream.next().await;
        let host = first.header("host").to_owned();
        first.answer("200 OK", &[], "").await;
        host
    });

    assert!(deep["error"].as_str().expect("an error").contains("Denied"));
    assert_eq!(one["status"], 200);
    assert_eq!(host, format!("a.example.test:{port}"));
}

#[tokio::test]
async fn the_first_rule_that_covers_a_request_bounds_it() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let networks = r#"networks = ["127.0.0.0/8"]"#;
    let rules = format!(
        r#"
        {{ to = "{url}/small", response_bytes = 10, request_bytes = 5, {networks} }},
        {{ to = "{url}/slow", first_byte_timeout_ms = 50, {networks} }},
        {{ to = "{url}/whole", timeout_ms = 50, {networks} }},
        {{ to = "{url}", {networks} }},
        "#
    );
    let gateway = with_rules(&rules, "").await;
    let at = |path: &str| json!({"url": format!("{url}{path}")});

    for (path, body, expected) in [
        ("/small", "0123456789", json!(200)),
        (
            "/small",
            "0123456789a",
            json!("HttpError::ResponseTooLarge(10)"),
        ),
        ("/", "0123456789a", json!(200)),
    ] {
        let (report, ()) = tokio::join!(fetched(&gateway, at(path)), async {
            upstream.next().await.answer("200 OK", &[], body).await;
        });
        let either = report.get("status").or(report.get("error"));
        assert_eq!(either, Some(&expected), "{path}");
    }
    let mut sending = at("/small");
    sending["body"] = json!("012345");
    sending["method"] = json!("POST");
    assert_eq!(
        fetched(&gateway, sending).await,
        json!({"error": r#"HttpError::InvalidRequest("the body may have 5 bytes")"#})
    );
    let (slow, waiting) = tokio::join!(fetched(&gateway, at("/slow")), upstream.next());
    assert_eq!(slow, json!({"error": "HttpError::Timeout"}));
    waiting.closed().await;
    let (whole, mut waiting) = tokio::join!(fetched(&gateway, at("/whole")), async {
        let mut waiting = upstream.next().await;
        waiting
            .write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
            .await;
        waiting
    });
    assert_eq!(whole, json!({"error": "HttpError::Timeout"}));
    waiting.write(b"2").await;
}

#[tokio::test]
async fn a_configuration_with_a_rule_that_would_be_misread_is_refused_with_what_to_write() {
    let refused = |rule: &str| {
        let configuration = format!(
            "auth.require = \"none\"\n[targets.fetch]\ncomponent = \"fetch.wasm\"\negress = [{rule}]\n"
        );
        let directory = Directory::new().with("vendordock.toml", configuration);
        let finished = directory.run(&["check", "--config", "vendordock.toml"]);
        assert_eq!(finished.code, Some(2), "{rule}");
        finished.stderr.trim_end().to_owned()
    };

    insta::assert_snapshot!([
        r#""ipa.example.test""#,
        r#""https://ipa.example.test.""#,
        r#""https://admin:hunter2@ipa.example.test""#,
        r#""*""#,
        r#""http://127.0.0.1:8080""#,
        r#"{ to = "http://10.1.0.1", methods = ["POST"], networks = ["public"] }"#,
        r#""http://0.0.0.0""#,
        r#"{ to = "https://ipa.example.test", networks = ["0.0.0.0/0"] }"#,
        r#"{ to = "https://ipa.example.test", client_certificate = { certificate_file = "no.pem", key_file = "no.pem" } }"#,
        r#"{ to = "https://ipa.example.test", ca_file = "no.pem" }"#,
    ]
    .map(refused)
    .join("\n"), @r#"
    vendordock.toml:4: targets.fetch.egress: `ipa.example.test` is not how a rule is written; write `https://ipa.example.test`
    vendordock.toml:4: targets.fetch.egress: `https://ipa.example.test.` is not how a rule is written; write `https://ipa.example.test`
    vendordock.toml:4: targets.fetch.egress: `https://...@ipa.example.test` is not how a rule is written; write `https://ipa.example.test`
    vendordock.toml:4: targets.fetch.egress: `*` is everywhere; name each host, `https://api.example.test`, or the hosts of one domain, `https://*.example.test`
    vendordock.toml:4: targets.fetch.egress: 127.0.0.1 (loopback) is permitted by { to = "http://127.0.0.1:8080", networks = ["127.0.0.1/32"] } only
    vendordock.toml:4: targets.fetch.egress: 10.1.0.1 (private) is permitted by { to = "http://10.1.0.1", methods = ["POST"], networks = ["private"] } only
    vendordock.toml:4: targets.fetch.egress: nothing can be reached at 0.0.0.0 (unspecified)
    vendordock.toml:4: targets.fetch.egress: `0.0.0.0/0` is every address there is; name the networks that are meant
    vendordock.toml:4: targets.fetch.egress: client_certificate: no.pem cannot be read: No such file or directory (os error 2)
    vendordock.toml:4: targets.fetch.egress: ca_file no.pem cannot be read: No such file or directory (os error 2)
    "#);
}
