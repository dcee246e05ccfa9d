//! What the gateway is compared with: the same axum, without the gateway.
//!
//! `baseline bare` reads a body and answers a kilobyte. `baseline native` does what the plugin `bench` does,
//! from the same source. Each listens on a free port of loopback and prints its address; one thread.

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../../tests/plugins/bench/src/work.rs"]
mod work;

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads");
    runtime.block_on(serve());
}

async fn serve() {
    let routes = match std::env::args().nth(1).as_deref() {
        Some("bare") => {
            let answer = Bytes::from(vec![b'x'; 1024]);
            post(async move |_body: Bytes| (JSON, answer.clone()))
        }
        Some("native") => post(native),
        // `cargo bench` runs every bench target; this one is started by `cargo xtask bench`.
        _ => return,
    };
    let routes = Router::new().route("/v1/{target}", routes);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    println!("listening on http://{address}");
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, routes).await.expect("serving");
}

async fn native(body: Bytes) -> impl IntoResponse {
    let settings = work::Settings {
        domain: "cloud.example.test".to_owned(),
        body_bytes: 1024,
        ttl_ms: 0,
    };
    let Ok(sent) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let answer = serde_json::to_vec(&work::answer(&settings, sent)).expect("plain data");
    (JSON, answer).into_response()
}
