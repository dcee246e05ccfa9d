//! Makes the HTTP request that the instance's metadata describes by `wasi:http`, and reports what came of it.
//!
//! | key | |
//! | --- | --- |
//! | `scheme`, `authority`, `path` | where to |
//! | `method`, `body` | `GET` and none, unless given |
//! | `header` | one `name: value` |
//! | `count` | how many of these are sent before the first answer is read; 1, unless given |
//!
//! The answer is a list with one entry for each: `{"status", "headers", "body"}`, or `{"error"}`.

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unsafe_code,
        reason = "generated, and crossing the boundary is unsafe"
    )]

    wit_bindgen::generate!({ path: "wit", world: "wasi-fetch", generate_all });
}

use serde_json::{Value, json};
use vendordock_plugin::{Error, Instance, Manifest, Plugin, Request, Response, export};

use self::bindings::wasi::http::outgoing_handler;
use self::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};

/// What one write of a stream takes at most.
const PIECE_BYTES: usize = 4096;

struct WasiFetch;

impl Plugin for WasiFetch {
    fn describe() -> Manifest {
        Manifest {
            name: "wasi-fetch".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let instance = &request.instance;
        let count = instance.metadata_value("count").unwrap_or("1");
        let count: usize = count.parse().unwrap_or(1);
        let sent: Vec<_> = (0..count).map(|_| send(instance)).collect();
        let reports = sent.into_iter().map(|sent| match sent.and_then(receive) {
            Ok(report) => report,
            Err(error) => json!({ "error": error }),
        });
        Response::json(&json!({ "reports": reports.collect::<Vec<_>>() }))
    }
}

fn send(instance: &Instance) -> Result<FutureIncomingResponse, String> {
    let value = |key: &str| instance.metadata_value(key);
    let headers = Fields::new();
    if let Some((name, value)) = value("header").and_then(|header| header.split_once(": ")) {
        headers
            .append(name, value.as_bytes())
            .map_err(|error| format!("{error:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let refused = |what: &str| format!("{what} is refused");
    let scheme = match value("scheme") {
        Some("https") | None => Scheme::Https,
        Some("http") => Scheme::Http,
        Some(other) => Scheme::Other(other.to_owned()),
    };
    let method = match value("method") {
        Some("POST") => Method::Post,
        Some("CONNECT") => Method::Connect,
        Some("TRACE") => Method::Trace,
        Some("GET") | None => Method::Get,
        Some(other) => Method::Other(other.to_owned()),
    };
    request
        .set_method(&method)
        .map_err(|()| refused("the method"))?;
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| refused("the scheme"))?;
    request
        .set_authority(value("authority"))
        .map_err(|()| refused("the authority"))?;
    request
        .set_path_with_query(value("path"))
        .map_err(|()| refused("the path"))?;
    let body = request.body().map_err(|()| refused("the body"))?;
    let response = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
    {
        let stream = body.write().map_err(|()| refused("the stream"))?;
        for piece in value("body").unwrap_or("").as_bytes().chunks(PIECE_BYTES) {
            if stream.blocking_write_and_flush(piece).is_err() {
                // The answer says why.
                return Ok(response);
            }
        }
    }
    OutgoingBody::finish(body, None).map_err(|error| format!("{error:?}"))?;
    Ok(response)
}

fn receive(response: FutureIncomingResponse) -> Result<Value, String> {
    response.subscribe().block();
    let response: IncomingResponse = response
        .get()
        .ok_or("not ready")?
        .map_err(|()| "taken twice")?
        .map_err(|error| format!("{error:?}"))?;
    let headers = response.headers().entries();
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    while let Ok(piece) = stream.blocking_read(1 << 16) {
        bytes.extend(piece);
    }
    Ok(json!({
        "status": response.status(),
        "headers": headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)))
            .collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(&bytes),
    }))
}

export!(WasiFetch);
