//! Listening: what all stand-ins have in common below HTTP.
//!
//! Each connection is a task of its own from its first byte, so a client that never ends its TLS
//! handshake holds up nobody else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::faults::Lost;

/// A server on loopback, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    /// Bound and never listening: while the server is stopped, connections are refused, and the
    /// port is still ours.
    _reserved: TcpSocket,
    running: Mutex<Option<Running>>,
}

/// What the client showed in TLS, as an extension of its requests.
#[derive(Clone)]
pub(crate) struct ClientCertificate(pub(crate) Vec<u8>);

struct Running {
    /// Closed: stop.
    orders: mpsc::UnboundedSender<DropConnections>,
    task: JoinHandle<()>,
}

/// Sent back when it is done.
type DropConnections = oneshot::Sender<()>;

impl Server {
    pub(crate) fn start(router: Router, tls: Option<Arc<ServerConfig>>) -> Self {
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server = Self {
            address: reserved.local_addr().expect("the socket is bound"),
            router,
            tls: tls.map(TlsAcceptor::from),
            _reserved: reserved,
            running: Mutex::new(None),
        };
        server.restart();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Listens again after [`stop`](Self::stop), on the same port.
    pub(crate) fn restart(&self) {
        let mut running = self.running.lock().expect("nothing panics under this lock");
        if running.is_some() {
            return;
        }
        let listener = bind(self.address)
            .listen(1024)
            .expect("nobody else listens on a reserved port");
        let (orders, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(accept(
            listener,
            self.router.clone(),
            self.tls.clone(),
            receiver,
        ));
        *running = Some(Running { orders, task });
    }

    /// Refuses connections from now on, and cuts those there are.
    pub(crate) async fn stop(&self) {
        let running = {
            let mut running = self.running.lock().expect("nothing panics under this lock");
            running.take()
        };
        if let Some(Running { orders, task }) = running {
            drop(orders);
            task.await.expect("the accepting task does not panic");
        }
    }

    /// Cuts the connections there are, also in the middle of a request.
    pub(crate) async fn drop_connections(&self) {
        let (done, waiting) = oneshot::channel();
        {
            let running = self.running.lock().expect("nothing panics under this lock");
            let Some(running) = &*running else { return };
            // Fails when the task is gone, and with it every connection.
            let _ = running.orders.send(done);
        }
        let _ = waiting.await;
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket
        .set_reuseport(true)
        .expect("the system can share a port between sockets of one user");
    socket.bind(address).expect("the port is free or ours");
    socket
}

async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut orders: mpsc::UnboundedReceiver<DropConnections>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(done) = order else { break };
                connections.shutdown().await;
                // Whoever asked may have gone meanwhile.
                let _ = done.send(());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone(), tls.clone()));
                }
                // Out of descriptors, most likely: better slow than spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            // Forgets what has ended.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router, tls: Option<TlsAcceptor>) {
    // It only costs time.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve_http(stream, router, None).await,
        Some(tls) => {
            // A client that does not trust us breaks off here: its error, not ours.
            if let Ok(stream) = tls.accept(stream).await {
                let shown = stream.get_ref().1.peer_certificates();
                let shown = shown.and_then(|shown| shown.first());
                let certificate = shown.map(|shown| ClientCertificate(shown.to_vec()));
                serve_http(stream, router, certificate).await;
            }
        }
    }
}

async fn serve_http<S>(stream: S, router: Router, certificate: Option<ClientCertificate>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(certificate) = certificate.clone() {
            request.extensions_mut().insert(certificate);
        }
        let answer = router.call(request);
        async move {
            let Ok(response) = answer.await;
            if response.extensions().get::<Lost>().is_some() {
                // Makes hyper close the connection with nothing written.
                return Err("the answer is lost");
            }
            Ok(response)
        }
    });
    // Clients come and go as they like.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
