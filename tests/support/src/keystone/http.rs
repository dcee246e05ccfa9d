//! `/v3/auth/tokens`, and what the other resources have in common with it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::{State as Shared, catalogue};
use crate::Faults;
use crate::faults::inflict;

pub(super) type Stored = State<Arc<Mutex<Shared>>>;

pub(super) fn router(state: Arc<Mutex<Shared>>, faults: Arc<Faults>) -> Router {
    Router::new()
        // A HEAD comes here as well.
        .route("/v3/auth/tokens", get(validate).post(log_in))
        .route("/v3/auth/catalog", get(catalogue::catalogue))
        .route("/v3/projects/{id}", get(catalogue::project))
        .route("/v3/domains/{id}", get(catalogue::domain))
        .layer(middleware::from_fn_with_state(faults, inflict))
        .with_state(state)
}

async fn log_in(State(state): Stored, headers: HeaderMap, uri: Uri, body: Bytes) -> Response {
    let mut state = state.lock().expect("no handler panics");
    state.log_ins += 1;
    let content_type = text(&headers, "content-type");
    if !content_type.starts_with("application/json") {
        return error(StatusCode::BAD_REQUEST, "The request body is no JSON.");
    }
    let credentials = match Credentials::read(&body) {
        Ok(credentials) => credentials,
        Err(message) => return error(StatusCode::BAD_REQUEST, message),
    };
    let Credentials {
        user,
        password,
        project,
    } = credentials;
    let Some(token) = state.tokens.log_in(&user, &password, &project) else {
        return unauthorized(&headers);
    };
    let issued = state.tokens.valid(&token).expect("it was issued just now");
    let body = state.tokens.describe(&issued, !without_catalog(&uri));
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::VARY, "X-Auth-Token")
        .header("X-Subject-Token", token)
        .body(Body::from(body.to_string()))
        .expect("all of it is valid")
}

async fn validate(State(state): Stored, method: Method, headers: HeaderMap, uri: Uri) -> Response {
    let mut state = state.lock().expect("no handler panics");
    state.validations += 1;
    let (caller, subject) = (
        text(&headers, "x-auth-token"),
        text(&headers, "x-subject-token"),
    );
    let Some(asking) = state.tokens.valid(caller) else {
        return unauthorized(&headers);
    };
    let Some(token) = state.tokens.valid(subject) else {
        let message = format!("Could not find token: {subject}.");
        return error(StatusCode::NOT_FOUND, &message);
    };
    // The role `service` may get a token, and may not check it by HEAD.
    let by_service = method == Method::GET && asking.roles.contains("service");
    if caller != subject && !asking.roles.contains("admin") && !by_service {
        return error(
            StatusCode::FORBIDDEN,
            "You are not authorized to perform the requested action: identity:validate_token.",
        );
    }
    let body = state.tokens.describe(&token, !without_catalog(&uri));
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::VARY, "X-Auth-Token")
        .header("X-Subject-Token", subject)
        .body(Body::from(body.to_string()))
        .expect("all of it is valid")
}

/// What a log-in by password must bring. Names and ids are taken alike.
struct Credentials {
    user: String,
    password: String,
    project: String,
}

impl Credentials {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let body: Value = serde_json::from_slice(body).map_err(|_| "Malformed JSON in request.")?;
        let at = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        if body.pointer("/auth/identity/methods") != Some(&json!(["password"])) {
            return Err("the stand-in knows the method `password` alone");
        }
        // A name means something inside a domain only.
        let named = |pointer: &str| {
            let id = at(&format!("{pointer}/id"));
            id.or_else(|| {
                let domain = at(&format!("{pointer}/domain/id")) == Some("default")
                    || at(&format!("{pointer}/domain/name")) == Some("Default");
                at(&format!("{pointer}/name")).filter(|_| domain)
            })
        };
        let user = named("/auth/identity/password/user");
        let password = at("/auth/identity/password/user/password");
        let project = named("/auth/scope/project");
        Ok(Self {
            user: user.ok_or("user: id, or name and domain")?.to_owned(),
            password: password
                .ok_or("'password' is a required property")?
                .to_owned(),
            project: project.ok_or("project: id, or name and domain")?.to_owned(),
        })
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn without_catalog(uri: &Uri) -> bool {
    let mut names = uri.query().unwrap_or("").split('&');
    names.any(|pair| pair.split('=').next() == Some("nocatalog"))
}

pub(crate) fn unauthorized(headers: &HeaderMap) -> Response {
    let message = "The request you have made requires authentication.";
    let mut response = error(StatusCode::UNAUTHORIZED, message);
    let uri = format!("Keystone uri=\"http://{}/v3\"", text(headers, "host"));
    let uri = uri
        .parse()
        .expect("a host that came in a header fits in one");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, uri);
    response
}

pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({
        "error": {
            "code": status.as_u16(),
            "message": message,
            "title": status.canonical_reason(),
        }
    });
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::VARY, "X-Auth-Token")
        .body(Body::from(body.to_string()))
        .expect("all of it is valid")
}
