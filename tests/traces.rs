//! `traceparent`, and the spans that a collector gets.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use crate::egress;
use crate::gateway::{Answer, Gateway, instance};
use crate::upstream::Upstream;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Takes spans, and keeps them as they came.
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = bodies.clone();
        let take = axum::routing::post(async move |body: axum::body::Bytes| {
            kept.lock().expect("nothing panics there").extend(body);
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("the kernel has a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = axum::Router::new().route("/v1/traces", take);
        tokio::spawn(async { axum::serve(listener, router).await });
        let url = format!("http://{address}/v1/traces");
        Self { url, bodies }
    }

    /// Whether these bytes came: of a name, or of an id.
    fn has(&self, bytes: &[u8]) -> bool {
        let bodies = self.bodies.lock().expect("nothing panics there");
        bodies.windows(bytes.len()).any(|window| window == bytes)
    }

    fn has_id(&self, digits: &str) -> bool {
        let byte = |pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits");
        let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
        self.has(&pairs.map(byte).collect::<Vec<u8>>())
    }
}

fn header(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

async fn ask(gateway: &Gateway, target: &str, traceparent: &str, body: &Value) -> Answer {
    let request = gateway.request(Method::POST, &format!("/v1/{target}"));
    Answer::to(request.header("traceparent", traceparent).json(body)).await
}

/// Lets `fetch` ask the upstream once, and returns what it asked.
async fn fetched(gateway: &Gateway, upstream: &Upstream, metadata: Value) -> String {
    let (body, traceparent) = (instance(metadata), header("01"));
    let asking = ask(gateway, "fetch", &traceparent, &body);
    let (answer, request) = tokio::join!(asking, async {
        let waiting = upstream.next().await;
        let sent = waiting.header("traceparent").to_owned();
        waiting.answer("200 OK", &[], "").await;
        sent
    });
    assert_eq!(answer.status, 200, "{answer}");
    request
}

#[tokio::test]
async fn without_a_collector_the_callers_traceparent_is_handed_on_as_it_came() {
    let upstream = Upstream::start().await;
    let gateway = egress::gateway(&upstream).await;

    let sent = fetched(&gateway, &upstream, json!({"url": upstream.url()})).await;
    assert_eq!(sent, header("01"));

    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let metadata = json!({"url": upstream.url(), "header": format!("traceparent: {own}")});
    assert_eq!(fetched(&gateway, &upstream, metadata).await, own);
}

#[tokio::test]
async fn the_plugin_is_told_the_trace_and_garbage_is_ignored() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm", cache_max_ttl_ms = 0 }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let told = async |header: &str| {
        let answer = ask(&gateway, "echo", header, &body).await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.at("/context/traceparent")
    };

    assert_eq!(told(&header("01")).await, json!(header("01")));
    let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
    for garbage in ["garbage", "", &zero, &header("01").to_uppercase()] {
        assert_eq!(told(garbage).await, Value::Null, "{garbage}");
    }
}

#[tokio::test]
async fn a_collector_gets_the_spans_of_a_request_under_the_callers_trace_and_nobodys_data() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let mut gateway = Gateway::start(&format!(
        r#"
        auth.require = "none"
        log.filter = "off"
        traces.otlp_endpoint = "{}"
        traces.sample_ratio = 0.0
        targets.fetch = {{ component = "fetch.wasm", egress = [{{ to = "{}", networks = ["127.0.0.0/8"] }}] }}
        targets.echo = {{ component = "echo.wasm", user_data = true }}
        "#,
        collector.url,
        upstream.url()
    ))
    .await;
    let url = format!("{}/Path-of-the-plugin?Query-of-the-plugin", upstream.url());

    let sent = fetched(&gateway, &upstream, json!({"url": url})).await;
    let denied = instance(json!({"url": "http://host-of-the-plugin.test/"}));
    ask(&gateway, "fetch", &header("01"), &denied).await;
    let mut body = instance(json!({"Key-of-the-tenant": "Value-of-the-tenant"}));
    body["user-data"] = json!("VXNlci1kYXRh");
    let told = ask(&gateway, "echo", &header("01"), &body).await;
    let told = told.at("/context/traceparent");
    gateway.signal("TERM");
    gateway.exit_code().await;

    for name in [
        "request",
        "plugin",
        "egress",
        "vendordock",
        "service.version",
    ] {
        assert!(collector.has(name.as_bytes()), "{name}");
    }
    assert!(collector.has_id(TRACE) && collector.has_id(PARENT));
    // What goes on names the gateway's own spans.
    for traceparent in [&*sent, told.as_str().expect("a traceparent")] {
        let rest = traceparent.strip_prefix(&format!("00-{TRACE}-"));
        let span = rest.and_then(|rest| rest.strip_suffix("-01"));
        let span = span.unwrap_or_else(|| panic!("{traceparent}"));
        assert!(span != PARENT && collector.has_id(span), "{traceparent}");
    }
    for data in ["-of-the-plugin", "-of-the-tenant", "User-data", "VXNlci1"] {
        assert!(!collector.has(data.as_bytes()), "{data}");
    }
}

#[tokio::test]
async fn what_the_caller_does_not_trace_is_not_sent_and_the_rest_is_up_to_the_ratio() {
    let (all, none) = (Collector::start().await, Collector::start().await);
    for (collector, ratio) in [(&all, "1.0"), (&none, "0.0")] {
        let mut gateway = Gateway::start(&format!(
            r#"
            auth.require = "none"
            traces = {{ otlp_endpoint = "{}", sample_ratio = {ratio} }}
            targets.echo = {{ component = "echo.wasm", cache_max_ttl_ms = 0 }}
            "#,
            collector.url,
        ))
        .await;
        let body = instance(json!({}));
        let unsampled = ask(&gateway, "echo", &header("00"), &body).await;
        let told = unsampled.at("/context/traceparent");
        let told = told.as_str().expect("the trace goes on");
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"));
        gateway.ask("echo", &body).await;
        gateway.signal("TERM");
        gateway.exit_code().await;
    }

    assert!(all.has(b"plugin") && !all.has_id(TRACE));
    assert!(none.bodies.lock().expect("nothing panics there").is_empty());
}

/// Ends a gateway that has spans for a collector at this place, and returns how long that took.
async fn ended_after_answering(endpoint: &str) -> (Duration, String) {
    let mut gateway = Gateway::start(&format!(
        r#"
        auth.require = "none"
        log.filter = "warn"
        traces.otlp_endpoint = "{endpoint}"
        targets.echo = {{ component = "echo.wasm", cache_max_ttl_ms = 0 }}
        "#,
    ))
    .await;
    let started = Instant::now();
    // More spans than the queue holds, and batches than one.
    for _ in 0..1_500 {
        assert_eq!(gateway.ask("echo", &instance(json!({}))).await.status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "answers wait");
    let told = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    let took = told.elapsed();
    (took, gateway.written().await)
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nothing_but_a_line() {
    let socket = TcpSocket::new_v4().expect("a socket");
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    // Bound and not listening: connections are refused, and nobody else gets the port.
    socket.bind(address).expect("the kernel has a free port");
    let address = socket.local_addr().expect("it is bound");

    let (took, log) = ended_after_answering(&format!("http://{address}/v1/traces")).await;

    assert!(took < Duration::from_secs(2), "{took:?}");
    let line = "the collector does not take traces";
    assert_eq!(log.matches(line).count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_the_exit_for_two_seconds_at_most() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("the kernel has a free port");
    let address = listener.local_addr().expect("it is bound");

    let (took, _log) = ended_after_answering(&format!("http://{address}/v1/traces")).await;

    assert!(took < Duration::from_secs(4), "{took:?}");
}
