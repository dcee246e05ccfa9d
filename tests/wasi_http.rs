//! `wasi:http`: the same way out as `http`, for guests that have `fetch` or `requests`.

use serde_json::{Value, json};

use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

/// A gateway whose plugin speaks `wasi:http`, with these lines of its target.
async fn gateway(target: &str) -> Gateway {
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.wasi-fetch]
        component = "wasi-fetch.wasm"
        timeout_ms = 2000
        {target}
        "#
    );
    Gateway::start(&configuration).await
}

/// A request to an upstream, as the plugin takes it.
fn request(upstream: &Upstream, path: &str) -> Value {
    let url = upstream.url();
    let (scheme, authority) = url.split_once("://").expect("a URL");
    json!({"scheme": scheme, "authority": authority, "path": path})
}

/// What the plugin is told of its first request.
async fn fetched(gateway: &Gateway, metadata: Value) -> Value {
    let answer = gateway.ask("wasi-fetch", &instance(metadata)).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.at("/reports/0")
}

fn granted(upstream: &Upstream) -> String {
    format!(
        r#"
        wasi_http = true
        egress = [{{ to = "{}", networks = ["127.0.0.0/8"] }}]
        "#,
        upstream.url()
    )
}

#[tokio::test]
async fn without_the_grant_each_request_is_denied_and_the_plugin_lives() {
    let upstream = Upstream::start().await;
    let rule = granted(&upstream).replace("wasi_http = true", "");
    let gateway = gateway(&rule).await;

    let report = fetched(&gateway, request(&upstream, "/")).await;

    assert_eq!(report, json!({"error": "ErrorCode::HttpRequestDenied"}));
    gateway
        .log_line(&["wasi_http = true", "[targets.wasi-fetch]"])
        .await;
}

#[tokio::test]
async fn what_a_rule_covers_is_sent_and_answered_whole() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&granted(&upstream)).await;
    let sent = "a piece and another ".repeat(1_000);
    let mut metadata = request(&upstream, "/a/../path?query");
    metadata["method"] = json!("POST");
    metadata["body"] = json!(sent);
    metadata["header"] = json!("x-own: value");

    let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
        let waiting = upstream.next().await;
        let (head, body) = waiting.request.split_once("\r\n\r\n").expect("a request");
        assert!(head.starts_with("POST /path?query HTTP/1.1\r\n"), "{head}");
        assert_eq!(format!("http://{}", waiting.header("host")), upstream.url());
        assert_eq!((waiting.header("x-own"), body), ("value", &*sent));
        waiting
            .answer("203 Non-Authoritative Information", &["X-Its: own"], "well")
            .await;
    });

    assert_eq!(
        (&report["status"], &report["body"]),
        (&json!(203), &json!("well"))
    );
    let headers = report["headers"].to_string();
    assert!(headers.contains(r#"["x-its","own"]"#), "{headers}");
}

#[tokio::test]
async fn what_no_rule_covers_is_an_error_with_its_own_code() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let url = upstream.url();
    let gateway = gateway(&format!(
        r#"
        wasi_http = true
        egress = [
            {{ to = "{url}/get", methods = ["GET"], networks = ["127.0.0.0/8"], response_bytes = 10 }},
            {{ to = "{url}/small", networks = ["127.0.0.0/8"], request_bytes = 10 }},
            "{localhost}",
        ]
        "#,
        localhost = url.replace("127.0.0.1", "localhost"),
    ))
    .await;
    let with = |path: &str, key: &str, value: &str| {
        let mut metadata = request(&upstream, path);
        metadata[key] = json!(value);
        metadata
    };
    let own = upstream.url().replace("http://127.0.0.1", "localhost");
    let mut codes = Vec::new();

    for (what, metadata) in [
        ("another origin", request(&other, "/")),
        ("another path", request(&upstream, "/other")),
        (
            "a path that leads out",
            request(&upstream, "/get/..%2fother"),
        ),
        ("another method", with("/get", "method", "POST")),
        ("no method of plugins", with("/small", "method", "TRACE")),
        ("a method of its own", with("/small", "method", "BREW")),
        ("a name that leads inside", with("/", "authority", &own)),
        ("a user", with("/get", "authority", "me:secret@127.0.0.1")),
        ("another scheme", with("/get", "scheme", "ftp")),
        ("a long body", with("/small", "body", "01234567890")),
        ("a host", with("/get", "header", "Host: evil.test")),
        (
            "a credential",
            with("/get", "header", "Authorization: Bearer x"),
        ),
        ("a cookie", with("/get", "header", "Cookie: a=b")),
        ("a way", with("/get", "header", "X-Forwarded-For: 10.0.0.1")),
        (
            "a hop",
            with("/get", "header", "Transfer-Encoding: chunked"),
        ),
        (
            "a line",
            with("/get", "header", "X-Own: a\r\nHost: evil.test"),
        ),
    ] {
        let report = fetched(&gateway, metadata).await;
        codes.push(format!(
            "{what}: {}",
            report["error"].as_str().unwrap_or("none")
        ));
    }
    let (long, ()) = tokio::join!(fetched(&gateway, request(&upstream, "/get")), async {
        upstream
            .next()
            .await
            .answer("200 OK", &[], "01234567890")
            .await;
    });
    codes.push(format!(
        "a long answer: {}",
        long["error"].as_str().unwrap_or("none")
    ));

    insta::assert_snapshot!(codes.join("\n"), @r#"
    another origin: ErrorCode::HttpRequestDenied
    another path: ErrorCode::HttpRequestDenied
    a path that leads out: ErrorCode::HttpRequestDenied
    another method: ErrorCode::HttpRequestDenied
    no method of plugins: ErrorCode::InternalError(Some("plugins have no method TRACE"))
    a method of its own: ErrorCode::InternalError(Some("plugins have no method BREW"))
    a name that leads inside: ErrorCode::DestinationIpProhibited
    a user: ErrorCode::InternalError(Some("the URL holds user information"))
    another scheme: ErrorCode::HttpProtocolError
    a long body: ErrorCode::HttpRequestBodySize(Some(10))
    a host: HeaderError::Forbidden
    a credential: HeaderError::Forbidden
    a cookie: HeaderError::Forbidden
    a way: HeaderError::Forbidden
    a hop: HeaderError::Forbidden
    a line: HeaderError::InvalidSyntax
    a long answer: ErrorCode::HttpResponseBodySize(Some(10))
    "#);
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&granted(&upstream)).await;

    let (report, ()) = tokio::join!(fetched(&gateway, request(&upstream, "/")), async {
        let waiting = upstream.next().await;
        waiting.answer("302 Found", &["Location: /there"], "").await;
    });

    assert_eq!(report["status"], 302);
}

#[tokio::test]
async fn a_call_has_so_many_requests_under_way_and_so_many_in_all() {
    let upstream = Upstream::start().await;
    let limits = "egress_limits = { requests = 5, concurrent_requests = 2 }";
    let gateway = gateway(&format!("{limits}\n{}", granted(&upstream))).await;
    let mut metadata = request(&upstream, "/");
    metadata["count"] = json!("7");
    let body = instance(metadata);

    let (answer, ()) = tokio::join!(gateway.ask("wasi-fetch", &body), async {
        // The next come only as these are answered.
        let mut under_way = vec![upstream.next().await, upstream.next().await];
        for _ in 2..5 {
            assert!(!upstream.has_another().await);
            under_way.remove(0).answer("200 OK", &[], "well").await;
            under_way.push(upstream.next().await);
        }
        for waiting in under_way {
            waiting.answer("200 OK", &[], "well").await;
        }
    });

    let reports = answer.at("/reports");
    let reports = reports.as_array().expect("a list");
    let answered = reports.iter().filter(|report| report["body"] == "well");
    let refused = json!({"error": "ErrorCode::ConnectionLimitReached"});
    let refused = reports.iter().filter(|report| **report == refused);
    assert_eq!((answered.count(), refused.count()), (5, 2), "{answer}");
}

#[tokio::test]
async fn whichever_way_a_request_takes_it_passes_the_same_check() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let (url, elsewhere) = (upstream.url(), other.url());
    let rule = format!(r#"egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]"#);
    let configuration = format!(
        r#"
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        [targets.wasi-fetch]
        component = "wasi-fetch.wasm"
        wasi_http = true
        {rule}
        [targets.fetch]
        component = "fetch.wasm"
        credentials.key = {{ secret = {{ file = "key" }}, origins = ["{url}"] }}
        {rule}
        "#
    );
    let gateway = Gateway::serve(Directory::new().with("key", "s3cret"), &configuration).await;
    let location = format!("Location: {elsewhere}/");
    let redirecting = async {
        let waiting = upstream.next().await;
        waiting.answer("302 Found", &[&location], "").await;
    };

    let by_wasi = fetched(&gateway, request(&other, "/")).await;
    let ask = async |metadata: Value| {
        let answer = gateway.ask("fetch", &instance(metadata)).await;
        answer.at("/error").as_str().unwrap_or("none").to_owned()
    };
    let by_http = ask(json!({"url": elsewhere})).await;
    let with_secret = ask(json!({"url": elsewhere, "credential": "key"})).await;
    let (by_redirect, ()) =
        tokio::join!(ask(json!({"url": url, "max_redirects": "1"})), redirecting);

    assert_eq!(by_wasi, json!({"error": "ErrorCode::HttpRequestDenied"}));
    for report in [by_http, with_secret, by_redirect] {
        assert!(report.starts_with("HttpError::Denied"), "{report}");
    }
    assert!(!other.has_another().await);
    let metrics = gateway
        .ask_admin(reqwest::Method::GET, "/metrics", "")
        .await;
    let mut denied: Vec<&str> = metrics
        .body
        .lines()
        .filter(|line| line.starts_with("vendordock_egress_calls_total"))
        .filter(|line| line.contains("denied"))
        .collect();
    // Their order is not fixed.
    denied.sort_unstable();
    insta::assert_snapshot!(denied.join("\n"), @r#"
    vendordock_egress_calls_total{cloud="default",target="fetch",outcome="denied"} 3
    vendordock_egress_calls_total{cloud="default",target="wasi-fetch",outcome="denied"} 1
    "#);
}
