//! Peers that take their time, or more than their share: none of them holds up the others.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

use crate::gateway::{Gateway, instance};
use crate::program::{Directory, PATIENCE};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: vendordock\r\n\r\n";

fn echo(server: &str) -> String {
    format!(
        r#"
        {server}
        auth.require = "none"
        targets.echo = {{ component = "echo.wasm" }}
        "#
    )
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address)
        .await
        .expect("it listens")
}

/// Sends a request on this connection, and reads the answer.
async fn use_it(stream: &mut TcpStream) {
    stream
        .write_all(HEALTH)
        .await
        .expect("the connection is open");
    let answer = read_until(stream, "\r\n\r\nok\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// Reads until this has come, or the connection ends.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let reading = async {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) || end.is_empty() {
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        String::from_utf8(bytes).expect("ASCII")
    };
    timeout(PATIENCE, reading).await.expect("it comes in time")
}

/// Sends one of these bytes again and again, until the connection ends. Returns what came.
async fn drip(mut stream: TcpStream, byte: u8) -> String {
    let (mut reader, mut writer) = stream.split();
    let mut pace = interval(Duration::from_millis(20));
    let dripping = async {
        while writer.write_all(&[byte]).await.is_ok() {
            pace.tick().await;
        }
        // The answer may still be on its way.
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut bytes = Vec::new();
        while reader
            .read_buf(&mut bytes)
            .await
            .is_ok_and(|length| length > 0)
        {}
        String::from_utf8(bytes).expect("ASCII")
    };
    let ended = async {
        tokio::select! {
            () = dripping => unreachable!("it waits for the other"),
            came = reading => came,
        }
    };
    timeout(PATIENCE, ended)
        .await
        .expect("it is cut off in time")
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_though_bytes_keep_coming_and_others_are_served() {
    let gateway = Gateway::start(&echo("server.header_timeout_ms = 500")).await;
    let fresh = connect(&gateway).await;
    let mut used = connect(&gateway).await;
    use_it(&mut used).await;

    let began = Instant::now();
    let (fresh, used, other) = tokio::join!(
        async {
            let mut fresh = fresh;
            fresh
                .write_all(b"GET /healthz HTTP/1.1\r\nA: ")
                .await
                .expect("open");
            (drip(fresh, b'a').await, began.elapsed())
        },
        async { (drip(used, b'G').await, began.elapsed()) },
        async {
            let answer = gateway.ask("echo", &instance(json!({}))).await;
            (answer.status, began.elapsed())
        },
    );

    assert_eq!(other.0, 200);
    for (came, after) in [fresh, used] {
        assert_eq!(came, "");
        assert!(after.as_millis() >= 500, "it was given its time: {after:?}");
        assert!(after.as_secs() < 5, "and no more: {after:?}");
        assert!(other.1 < after, "nobody waited for it");
    }
}

#[tokio::test]
async fn a_body_that_drips_is_answered_with_408_and_is_given_no_more_time_by_its_target() {
    let gateway = Gateway::start(
        r#"
        server.body_timeout_ms = 300
        server.idle_timeout_ms = 60000
        auth.require = "none"
        targets.echo = { component = "echo.wasm", timeout_ms = 60000 }
        "#,
    )
    .await;
    let mut stream = connect(&gateway).await;
    let head = "POST /v1/echo HTTP/1.1\r\nHost: vendordock\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");

    let began = Instant::now();
    let came = drip(stream, b' ').await;

    assert!(
        came.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{came}"
    );
    assert!(began.elapsed().as_millis() >= 300, "it was given its time");
}

#[tokio::test]
async fn a_connection_is_closed_when_it_was_idle_for_long_and_not_while_it_is_used() {
    let gateway = Gateway::start(&echo("server.idle_timeout_ms = 2000")).await;
    let mut unused = connect(&gateway).await;
    let mut used = connect(&gateway).await;
    let opened = Instant::now();
    let mut pace = interval(Duration::from_millis(500));

    while opened.elapsed().as_millis() < 2_500 {
        pace.tick().await;
        use_it(&mut used).await;
    }
    let last = Instant::now();

    assert_eq!(read_until(&mut unused, "").await, "");
    assert_eq!(read_until(&mut used, "").await, "");
    assert!(last.elapsed().as_millis() >= 1_900, "it was given its time");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_and_is_served_when_another_ends() {
    let gateway = Gateway::start(&echo("server.connections = 2")).await;
    let mut first = connect(&gateway).await;
    let mut second = connect(&gateway).await;
    use_it(&mut first).await;
    use_it(&mut second).await;

    let mut third = connect(&gateway).await;
    third.write_all(HEALTH).await.expect("open");
    gateway.log_line(&["WARN", "server] connections"]).await;
    use_it(&mut first).await;
    let nothing = third.try_read(&mut [0]).expect_err("it waits");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

    drop(second);
    let answer = read_until(&mut third, "\r\n\r\nok\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_with_431_and_a_shorter_one_is_not() {
    let gateway = Gateway::start(&echo("server.header_bytes = 10000")).await;

    for (length, status) in [
        (9_000, "200 OK"),
        (11_000, "431 Request Header Fields Too Large"),
    ] {
        let mut stream = connect(&gateway).await;
        let value = "a".repeat(length);
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: v\r\nConnection: close\r\nX-Auth-Token: {value}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("open");

        let answer = read_until(&mut stream, "").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_its_answers_is_cut_off() {
    let gateway = Gateway::start(&echo("server.idle_timeout_ms = 500")).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a size");
    let mut stream = socket.connect(gateway.address).await.expect("it listens");
    let requests = HEALTH.repeat(1_000);

    let writing = async { while stream.write_all(&requests).await.is_ok() {} };

    timeout(PATIENCE, writing)
        .await
        .expect("it is cut off in time");
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_gateway_without_free_descriptors_serves_again_when_there_are_some() {
    let gateway = Gateway::serve_by(Directory::new(), &echo(""), |directory, arguments| {
        directory.spawn_with_files(64, arguments)
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(connect(&gateway).await);
    }
    gateway
        .log_line(&["ERROR", "cannot accept connections"])
        .await;

    drop(held);

    assert_eq!(gateway.get("/healthz").await.status, 200);
    let log = gateway.written().await;
    assert_eq!(log.matches("cannot accept connections").count(), 1, "{log}");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_open_for_the_next_request_or_says_that_it_does_not() {
    let gateway = Gateway::start(&echo("server.body_limit_bytes = 100000")).await;
    let refused = async |length: usize, sent: usize| {
        let mut stream = connect(&gateway).await;
        let head =
            format!("POST /v1/nobody HTTP/1.1\r\nHost: v\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("open");
        stream.write_all(&vec![b'x'; sent]).await.expect("open");
        let answer = read_until(&mut stream, "\"title\":\"Not Found\"}}").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        (stream, answer.contains("\r\nconnection: close\r\n"))
    };

    let (mut stream, closes) = refused(90_000, 90_000).await;
    assert!(!closes);
    use_it(&mut stream).await;

    // More than is read for nothing, and a body that does not come.
    assert!(refused(110_000, 110_000).await.1);
    assert!(refused(90_000, 10).await.1);
}
