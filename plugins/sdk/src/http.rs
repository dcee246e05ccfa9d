//! The gateway's HTTP client: one call, whole bodies.

pub use crate::bindings::provider::vendordock::vendordata::http::{
    AuthScheme, HttpError, IncomingResponse, Method, OutgoingRequest, send, send_with,
};

/// A GET of nowhere, for `..Default::default()`: no headers, no body, no time limit but the call's
/// own, no redirect followed.
impl Default for OutgoingRequest {
    fn default() -> Self {
        Self {
            method: Method::Get,
            url: String::new(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
            max_redirects: 0,
        }
    }
}
