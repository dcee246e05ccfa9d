//! What FreeIPA checks before it reads a command: path, `Referer`, form, cookie.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::any;
use hyper::ext::ReasonPhrase;
use url::form_urlencoded;

use super::{SERVER_NAME, State as Shared, rpc};
use crate::Faults;
use crate::faults::inflict;

type Stored = State<Arc<Mutex<Shared>>>;

pub(super) fn router(state: Arc<Mutex<Shared>>, faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/ipa/session/login_password", any(login_password))
        .route("/ipa/session/json", any(json))
        .layer(middleware::from_fn_with_state(faults, inflict))
        .with_state(state)
}

async fn login_password(
    State(state): Stored,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !referer_is_ours(&headers) {
        return bad_request("denied");
    }
    let content_type = text(&headers, header::CONTENT_TYPE).to_ascii_lowercase();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return bad_request("Content-Type must be application/x-www-form-urlencoded");
    }
    if method != Method::POST {
        return bad_request("HTTP request method must be POST");
    }
    let (user, password) = match (field(&body, "user"), field(&body, "password")) {
        (Ok(user), Ok(password)) => (user, password),
        (Err(error), _) | (_, Err(error)) => return bad_request(&error),
    };
    let mut state = state.lock().expect("no command panics");
    match state.log_ins.log_in(&user, &password) {
        Ok(cookie) => success("text/plain; charset=utf-8", &cookie, Body::empty()),
        Err(reason) => Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
            .header("X-IPA-Rejection-Reason", reason)
            .body(Body::from(page("401 Unauthorized", reason)))
            .expect("all of it is valid"),
    }
}

async fn json(State(state): Stored, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    if !referer_is_ours(&headers) {
        return bad_request("denied");
    }
    let mut state = state.lock().expect("no command panics");
    let Some(cookie) = state.log_ins.renew(text(&headers, header::COOKIE)) else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    };
    let is_json = text(&headers, header::CONTENT_TYPE).starts_with("application/json");
    let answer = if is_json && method == Method::POST {
        rpc::answer(&mut state, &body)
    } else {
        rpc::not_a_call()
    };
    let body = Body::from(answer.to_string());
    success("application/json; charset=utf-8", &cookie, body)
}

/// FreeIPA compares the beginning of the text and nothing else.
fn referer_is_ours(headers: &HeaderMap) -> bool {
    let ours = format!("https://{SERVER_NAME}/ipa");
    text(headers, header::REFERER).starts_with(&ours)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn field(form: &[u8], name: &str) -> Result<String, String> {
    let mut values = form_urlencoded::parse(form)
        // As Python's parse_qs does, which drops what is empty.
        .filter(|(key, value)| key == name && !value.is_empty());
    let Some((_, value)) = values.next() else {
        return Err(format!("no {name} specified"));
    };
    if values.next().is_some() {
        return Err(format!("more than one {name} parameter"));
    }
    Ok(value.into_owned())
}

/// The status line is `200 Success`.
fn success(content_type: &'static str, cookie: &str, body: Body) -> Response {
    Response::builder()
        .extension(ReasonPhrase::from_static(b"Success"))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::SET_COOKIE, cookie)
        .body(body)
        .expect("all of it is valid")
}

fn bad_request(message: &str) -> Response {
    Response::builder()
        .status(StatusCode::BAD_REQUEST)
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .body(Body::from(page("400 Bad Request", message)))
        .expect("all of it is valid")
}

fn page(title: &str, message: &str) -> String {
    format!(
        "<html>\n<head>\n<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>\n<strong>{message}</strong>\n</p>\n</body>\n</html>"
    )
}
