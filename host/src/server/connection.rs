//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use axum::Router;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use super::listener::Stream;
use super::pace::{Doing, Limits, Pace, Paced};
use super::peer::PeerCertificate;
use super::tls::Tls;
use super::unread::Unread;
use crate::config;
use crate::error::chain;

/// What all connections of one socket have in common.
pub(super) struct Connections {
    http: http1::Builder,
    limits: Limits,
    body_limit_bytes: usize,
    router: Router,
    tls: Option<Arc<Tls>>,
    stopping: Arc<AtomicBool>,
}

impl Connections {
    pub(super) fn new(
        server: &config::Server,
        router: Router,
        tls: Option<Arc<Tls>>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let milliseconds =
            |time: std::num::NonZeroU32| std::time::Duration::from_millis(time.get().into());
        let mut http = http1::Builder::new();
        // One is exact, and refuses a longer head with 431. The other bounds the memory for bytes that were not asked for.
        http.max_header_size(server.header_bytes.get());
        http.max_buf_size(server.header_bytes.get());
        Self {
            http,
            limits: Limits {
                head: milliseconds(server.header_timeout_ms),
                idle: milliseconds(server.idle_timeout_ms),
            },
            body_limit_bytes: server.body_limit_bytes,
            router,
            tls,
            stopping,
        }
    }

    /// Serves a connection to its end, which comes soon once `watcher` has been told of the stop.
    pub(super) async fn serve(&self, stream: Stream, watcher: Watcher) {
        match stream {
            Stream::Tcp(stream) => self.serve_stream(stream, watcher).await,
            Stream::Unix(stream) => self.serve_stream(stream, watcher).await,
        }
    }

    async fn serve_stream<S>(&self, stream: S, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, None, watcher).await;
        };
        let stream = match timeout(self.limits.head, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => stream,
            // Whatever looks whether the port is open.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
            Ok(Err(error)) => {
                tracing::info!("no TLS: {}", chain(&error));
                return;
            }
            Err(_elapsed) => {
                tracing::debug!("closed: the TLS handshake took too long");
                return;
            }
        };
        let shown = stream.get_ref().1.peer_certificates();
        let peer = match shown
            .and_then(<[_]>::first)
            .map(|shown| PeerCertificate::read(shown))
        {
            None => None,
            Some(Ok(peer)) => Some(Arc::new(peer)),
            // TLS has read it, too.
            Some(Err(error)) => {
                tracing::warn!("closed: the client's certificate: {}", chain(&error));
                return;
            }
        };
        self.serve_http(stream, peer, watcher).await;
    }

    async fn serve_http<S>(&self, stream: S, peer: Option<Arc<PeerCertificate>>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Arc::new(Pace::new());
        let unread = Unread::default();
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            pace.request();
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let asks_first = request.headers().contains_key(header::EXPECT);
            let answering = router.call(request.map(|body| unread.lend(body)));
            let (pace, unread) = (&pace, &unread);
            async move {
                let Ok(mut answer) = answering.await;
                let all_read = unread.is_read(asks_first, self.body_limit_bytes).await;
                pace.answer();
                // Who is stopping wants the next request to go where somebody stays.
                if !all_read || self.stopping.load(Ordering::Relaxed) {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = TokioIo::new(Paced::new(stream, pace.clone()));
        let connection = self.http.serve_connection(stream, service);
        let mut connection = pin!(watcher.watch(connection));
        let mut timer = pin!(sleep_until(Instant::now() + self.limits.idle));
        // A timer keeps whom to wake, which is this task as long as it lives: it is polled when it is new, not at each request.
        let mut set = false;
        let overdue = poll_fn(|context| {
            if connection.as_mut().poll(context).is_ready() {
                // Peers come and go as they like, also in the middle of a request.
                return Poll::Ready(None);
            }
            while let Some((end, doing)) = pace.end(&self.limits) {
                if timer.is_elapsed() && end <= Instant::now() {
                    return Poll::Ready(Some(doing));
                }
                if timer.is_elapsed() || end < timer.deadline() {
                    timer.as_mut().reset(end);
                    set = false;
                }
                if set {
                    return Poll::Pending;
                }
                set = true;
                ready!(timer.as_mut().poll(context));
            }
            // The handler has its own limits, and its end wakes us.
            Poll::Pending
        });
        if let Some(doing) = overdue.await {
            tracing::debug!("closed: {}", Doing::as_str(doing));
        }
    }
}
