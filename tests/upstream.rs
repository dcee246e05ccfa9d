//! A service behind a plugin that does as the test says: it takes one request at a time, looks at it, and answers
//! when it likes.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::program::PATIENCE;

/// Plain HTTP on a free port of loopback.
pub(crate) struct Upstream(TcpListener);

/// A request that waits for its answer.
pub(crate) struct Waiting {
    /// As it came: request line, headers, body.
    pub(crate) request: String,
    stream: TcpStream,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        Self(listener.expect("the kernel has a free port"))
    }

    /// Its origin, with the address for a host.
    pub(crate) fn url(&self) -> String {
        let address = self.0.local_addr().expect("it is bound");
        format!("http://{address}")
    }

    /// Whether somebody has connected whose request was not taken yet.
    pub(crate) async fn has_another(&self) -> bool {
        // Who came before this one is accepted before it.
        let address = self.0.local_addr().expect("it is bound");
        let own = TcpStream::connect(address).await.expect("it listens");
        let (_, first) = self.0.accept().await.expect("somebody came");
        first != own.local_addr().expect("it is connected")
    }

    /// The next request, once it is there.
    pub(crate) async fn next(&self) -> Waiting {
        let arriving = async {
            let (mut stream, _) = self.0.accept().await?;
            let request = read(&mut stream).await?;
            std::io::Result::Ok(Waiting { request, stream })
        };
        tokio::time::timeout(PATIENCE, arriving)
            .await
            .expect("a request arrives in time")
            .expect("the connection holds")
    }
}

impl Waiting {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut pairs = self
            .request
            .lines()
            .filter_map(|line| line.split_once(": "));
        let pair = pairs.find(|(given, _)| given.eq_ignore_ascii_case(name));
        pair.map_or("", |(_, value)| value)
    }

    /// Answers with a body, and waits for the next request on the same connection.
    pub(crate) async fn answer_and_wait(mut self, body: &str) -> Self {
        self = self.answer_open(body).await;
        let arriving = read(&mut self.stream);
        let request = tokio::time::timeout(PATIENCE, arriving)
            .await
            .expect("a request arrives in time")
            .expect("the connection holds");
        Self { request, ..self }
    }

    /// Answers with a body, and leaves the connection open.
    pub(crate) async fn answer_open(mut self, body: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.write(format!("{head}{body}").as_bytes()).await;
        self
    }

    /// Writes these bytes, and tells whether the other side still takes any.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the other side closes.
    pub(crate) async fn closed(mut self) {
        let closing = async { while matches!(self.stream.read(&mut [0; 64]).await, Ok(1..)) {} };
        tokio::time::timeout(PATIENCE, closing)
            .await
            .expect("the connection is given up in time");
    }

    /// Answers with a status line's rest, more header lines if any, and a body; then closes.
    pub(crate) async fn answer(mut self, status: &str, headers: &[&str], body: &str) {
        let mut head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            head += header;
            head += "\r\n";
        }
        // Whoever asked may have had enough.
        let _ = self
            .stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .await;
        let _ = self.stream.shutdown().await;
    }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| {
                    length.parse().expect("a length is a number")
                });
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
