//! All connections, from the first to the last.
//!
//! The end comes in steps, since behind a load balancer nobody must notice it. First `/readyz` says no, while everything is
//! still taken: the balancer needs a moment to see it. Then the sockets close, idle connections with them, and
//! requests that run may end.

use std::io::{self, ErrorKind};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use sd_notify::NotifyState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connection::Connections;
use super::listener::{Socket, Stream};
use super::systemd;
use super::tls::Tls;
use crate::config;
use crate::telemetry::metrics::Metrics;

/// After a connection could not be accepted, for want of descriptors most likely: to try again at once would keep a core busy
/// that others need to come to an end.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two lines in the log that say the same.
const SELDOM: Duration = Duration::from_secs(60);

/// Sockets that lead to the same routes.
pub struct Entrance {
    /// Where connections come in.
    pub sockets: Vec<Socket>,
    /// What they reach.
    pub router: Router,
    /// How many of them may be open at once. One for each socket may be accepted beyond that, and waits; further ones
    /// wait in the kernel's queue.
    pub connections: NonZeroU32,
    /// Where they are counted, if they are.
    pub metrics: Option<Arc<Metrics>>,
}

/// Serves until `stop_signal` has returned, and then to an orderly end, which a further signal cuts short. `stopping` tells
/// readiness.
pub async fn serve(
    entrances: Vec<Entrance>,
    server: &config::Server,
    tls: Option<Arc<Tls>>,
    stopping: Arc<AtomicBool>,
    mut stop_signal: impl AsyncFnMut(),
) {
    let (closing, closed) = watch::channel(false);
    let mut doors = JoinSet::new();
    for entrance in entrances {
        let places = Arc::new(Semaphore::new(entrance.connections.get() as usize));
        for socket in entrance.sockets {
            let tls = tls.clone().filter(|_| socket.tls);
            let router = entrance.router.clone();
            let connections = Connections::new(server, router, tls, stopping.clone());
            let door = Door {
                socket,
                places: places.clone(),
                metrics: entrance.metrics.clone(),
                full: Seldom::default(),
                failed: Seldom::default(),
            };
            doors.spawn(door.serve(Arc::new(connections), closed.clone()));
        }
    }

    stop_signal().await;
    tracing::info!("stopping: requests are still taken, and /readyz says no");
    stopping.store(true, Ordering::Relaxed);
    systemd::tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    let hurried = tokio::select! {
        () = sleep(Duration::from_millis(server.drain_ms.into())) => false,
        () = stop_signal() => true,
    };

    tracing::info!("stopping: no new connections, running requests may end");
    // Each door listens to it until it is closed.
    let _ = closing.send(true);
    if hurried {
        tracing::warn!("told to stop again: not waiting for requests that are running");
        // The sockets' files go with the doors.
        doors.shutdown().await;
        return;
    }
    let all_ended = async { while doors.join_next().await.is_some() {} };
    tokio::select! {
        () = all_ended => {}
        () = sleep(Duration::from_millis(server.shutdown_timeout_ms.into())) => {
            tracing::warn!("requests were still running when the time to stop was over");
        }
        () = stop_signal() => {
            tracing::warn!("told to stop again: not waiting for requests that are running");
        }
    }
}

/// A socket, and those who come in.
struct Door {
    socket: Socket,
    places: Arc<Semaphore>,
    metrics: Option<Arc<Metrics>>,
    full: Seldom,
    failed: Seldom,
}

impl Door {
    async fn serve(mut self, connections: Arc<Connections>, mut closed: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        loop {
            let (stream, place) = tokio::select! {
                // The other end is gone together with all that we serve for.
                _ = closed.wait_for(|closed| *closed) => break,
                next = self.next() => next,
            };
            let (connections, watcher) = (connections.clone(), graceful.watcher());
            let counted = self.metrics.as_ref().map(|metrics| metrics.connection());
            tokio::spawn(async move {
                connections.serve(stream, watcher).await;
                drop((place, counted));
            });
        }
        // From here on, connections are refused.
        drop(self);
        graceful.shutdown().await;
    }

    /// The next connection, once there is a place for it.
    async fn next(&mut self) -> (Stream, OwnedSemaphorePermit) {
        let stream = loop {
            match self.socket.accept().await {
                Ok(stream) => break stream,
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    if self.failed.is_due() {
                        tracing::error!(%error, "cannot accept connections at {}", self.socket);
                    }
                    sleep(PAUSE).await;
                }
            }
        };
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return (stream, place);
        }
        if self.full.is_due() {
            tracing::warn!(
                "as many connections are open as [server] connections allows: further ones wait"
            );
        }
        let place = self.places.clone().acquire_owned();
        (stream, place.await.expect("nobody closes the semaphore"))
    }
}

/// Whether it was one connection that failed, and not the socket.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// Something to say that stays true for long.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|said| said.elapsed() >= SELDOM);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
