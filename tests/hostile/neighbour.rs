//! A target that does no harm and is asked all the while, as nova asks: one request after the other, on one connection.
//!
//! It is asked by a thread of its own with a blocking socket, so that what is measured is the gateway's time and not that
//! of the test's own tasks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Gateway, instance};

/// Between the starts of two requests.
const PACE: Duration = Duration::from_millis(2);

/// A measurement under way.
pub(super) struct Neighbour {
    done: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

/// What the 99th percentile may be under attack when it is this without: twice as much, and a little that is the
/// machine's. Alone it is a millisecond, which is less than the kernel gives a thread at a time, and the test itself needs
/// one of the two processors. A plugin that is not interrupted holds it up until its own deadline.
pub(super) fn bound(alone: Duration) -> Duration {
    2 * alone + Duration::from_millis(10)
}

impl Neighbour {
    /// The 99th percentile while nothing else happens.
    pub(super) async fn alone(gateway: &Gateway) -> Duration {
        Self::start(gateway, 100).measured().await
    }

    /// Asks this many times.
    pub(super) fn start(gateway: &Gateway, samples: usize) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let asking = std::thread::spawn({
            let (address, done) = (gateway.address, done.clone());
            move || {
                let measured = ask(address, samples).expect("the connection holds");
                done.store(true, Ordering::Relaxed);
                measured
            }
        });
        Self { done, asking }
    }

    /// Tells whether all was asked.
    pub(super) fn done(&self) -> impl Fn() -> bool + Send + 'static {
        let done = self.done.clone();
        move || done.load(Ordering::Relaxed)
    }

    /// The 99th percentile.
    pub(super) async fn measured(self) -> Duration {
        let joined = tokio::task::spawn_blocking(move || self.asking.join()).await;
        let mut measured = joined.expect("no panic").expect("each was answered");
        measured.sort_unstable();
        measured[measured.len() * 99 / 100 - 1]
    }
}

fn ask(address: SocketAddr, samples: usize) -> std::io::Result<Vec<Duration>> {
    let body = instance(json!({})).to_string();
    let request = format!(
        "POST /v1/echo HTTP/1.1\r\nHost: vendordock\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(&stream);
    let mut measured = Vec::with_capacity(samples);
    while measured.len() < samples {
        let started = Instant::now();
        (&stream).write_all(request.as_bytes())?;
        answer(&mut answers)?;
        let took = started.elapsed();
        measured.push(took);
        std::thread::sleep(PACE.saturating_sub(took));
    }
    Ok(measured)
}

/// Reads an answer to its end.
fn answer(stream: &mut BufReader<&TcpStream>) -> std::io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim_end().parse().expect("a length");
        }
    }
    stream.read_exact(&mut vec![0; length])
}
