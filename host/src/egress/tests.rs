//! What the program as a whole cannot show: answers of DNS that change, and rules that its configuration refuses.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn egress(rule: &str, answers: &[&[&str]]) -> Egress {
    // Fails when another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let target = format!("component = \"x.wasm\"\negress = [{rule}]");
    let target: config::Target = toml::from_str(&target).expect("a target");
    let addresses = |answer: &&[&str]| -> Vec<IpAddr> {
        let parsed = answer.iter().map(|text| text.parse());
        parsed.map(|address| address.expect("an address")).collect()
    };
    let names = Names::scripted(answers.iter().map(addresses).collect());
    let name = "fetch".to_owned().try_into().expect("a name");
    Egress::with_names(&name, &target, TargetMetrics::unregistered(), names)
        .expect("nothing to read")
}

async fn get(egress: &Egress, url: &str) -> Result<u16, RequestError> {
    let outgoing = Outgoing {
        method: Method::GET,
        url: url.to_owned(),
        headers: Vec::new(),
        body: Body::Whole(Bytes::new()),
        timeout: None,
        first_byte_timeout: None,
        max_redirects: 0,
    };
    let within = Within {
        spending: Arc::new(Spending::new(&config::EgressLimits::default())),
        traceparent: None,
        deadline: Instant::now() + Duration::from_secs(20),
    };
    let incoming = egress.dispatch(outgoing, None, &within).await;
    incoming.map(|incoming| incoming.status)
}

/// Answers one request, and tells where the peer thought to be.
async fn serve_one(listener: &TcpListener) -> SocketAddr {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.expect("a request"), 0);
    }
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).await.expect("it reads");
    stream.local_addr().expect("it is connected")
}

#[tokio::test]
async fn an_answer_of_dns_that_changes_after_the_check_leads_nowhere_else() {
    // One port that is free at both addresses.
    let (permitted, forbidden, port) = loop {
        let permitted = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let port = permitted.local_addr().expect("it is bound").port();
        if let Ok(forbidden) = TcpListener::bind(("127.0.0.1", port)).await {
            break (permitted, forbidden, port);
        }
    };
    let url = format!("http://rebinding.test:{port}");
    let rule = format!(r#"{{ to = "{url}", networks = ["127.0.0.2/32"] }}"#);
    // Whoever asks once too often is told the second address.
    let egress = egress(&rule, &[&["127.0.0.2"], &["127.0.0.1"]]);

    let (first, reached) = tokio::join!(get(&egress, &url), serve_one(&permitted));
    let second = get(&egress, &url).await;

    assert_eq!(first.expect("an answer"), 200);
    assert_eq!(reached.ip(), IpAddr::from([127, 0, 0, 2]));
    let Err(RequestError::Address { addresses, .. }) = second else {
        panic!("{second:?}");
    };
    assert_eq!(addresses, [IpAddr::from([127, 0, 0, 1])]);
    // Nobody has knocked there before this.
    let own = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    let own = own.expect("it listens").local_addr().expect("connected");
    let (_, first) = forbidden.accept().await.expect("a connection");
    assert_eq!(first, own);
}

#[tokio::test]
async fn an_address_in_a_url_is_held_against_the_rule_though_no_resolver_sees_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let egress = egress(&format!("\"{url}\""), &[]);

    let refused = get(&egress, &url).await;

    assert!(matches!(refused, Err(RequestError::Address { .. })));
}
