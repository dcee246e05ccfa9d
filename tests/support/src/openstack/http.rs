//! The resources of the three services, and what nova calls microversions.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Things;
use crate::Faults;
use crate::faults::inflict;
use crate::keystone::{self, Bearer};

/// What nova speaks at most.
const NEWEST: (u32, u32) = (2, 96);

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) keystone: Arc<Mutex<keystone::State>>,
    pub(super) things: Arc<Mutex<Things>>,
}

pub(super) type Routes = fn() -> Router<Shared>;

type Asked = Arc<Mutex<Vec<String>>>;

pub(super) fn router(routes: Routes, state: Shared, faults: Arc<Faults>, asked: Asked) -> Router {
    routes()
        .layer(middleware::from_fn_with_state(state.clone(), authenticate))
        .layer(middleware::from_fn_with_state(faults, inflict))
        .layer(middleware::from_fn_with_state(asked, note))
        .with_state(state)
}

pub(super) fn glance() -> Router<Shared> {
    Router::new().route("/v2/images/{id}", get(image))
}

pub(super) fn nova() -> Router<Shared> {
    Router::new()
        .route("/v2.1/servers/{id}", get(server))
        .route("/v2.1/os-keypairs/{name}", get(keypair))
}

pub(super) fn neutron() -> Router<Shared> {
    Router::new().route("/networking/v2.0/ports", get(ports))
}

async fn note(State(asked): State<Asked>, request: Request, next: Next) -> Response {
    let uri = request.uri().to_string();
    asked.lock().expect("no handler panics").push(uri);
    next.run(request).await
}

/// What keystonemiddleware does in front of each of them.
async fn authenticate(State(state): State<Shared>, mut request: Request, next: Next) -> Response {
    let token = request.headers().get("x-auth-token");
    let token = token.and_then(|token| token.to_str().ok()).unwrap_or("");
    let bearer = {
        let mut keystone = state.keystone.lock().expect("no handler panics");
        keystone.bearer(token)
    };
    let Some(bearer) = bearer else {
        return keystone::unauthorized(request.headers());
    };
    request.extensions_mut().insert(Arc::new(bearer));
    next.run(request).await
}

type Who = axum::Extension<Arc<Bearer>>;

async fn image(State(state): State<Shared>, who: Who, Path(id): Path<String>) -> Response {
    let things = state.things.lock().expect("no handler panics");
    let seen = |image: &&Value| {
        let shown = image["visibility"] != "private" || image["owner"] == *who.project_id;
        image["id"] == *id && (who.is_admin || shown)
    };
    match things.images.iter().find(seen) {
        Some(image) => Json(image).into_response(),
        // Glance answers with a page.
        None => {
            let page = format!(
                "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  \
                 Failed to find image {id}<br /><br />\n\n\n\n </body>\n</html>"
            );
            (
                StatusCode::NOT_FOUND,
                [(header::CONTENT_TYPE, "text/html")],
                page,
            )
                .into_response()
        }
    }
}

async fn server(
    State(state): State<Shared>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(version) = version(&headers) else {
        return unsupported();
    };
    let things = state.things.lock().expect("no handler panics");
    let seen = |server: &&Value| {
        server["id"] == *id && (who.is_admin || server["tenant_id"] == *who.project_id)
    };
    let Some(mut server) = things.servers.iter().find(seen).cloned() else {
        let message = format!("Instance {id} could not be found.");
        return fault(StatusCode::NOT_FOUND, "itemNotFound", &message);
    };
    let members = server.as_object_mut().expect("it was made of members");
    if version < (2, 47) {
        members.insert("flavor".to_owned(), json!({"id": "1", "links": []}));
    }
    if version < (2, 3) || !who.is_admin {
        members.remove("OS-EXT-SRV-ATTR:user_data");
    }
    Json(json!({ "server": server })).into_response()
}

async fn keypair(
    State(state): State<Shared>,
    who: Who,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(version) = version(&headers) else {
        return unsupported();
    };
    // Before 2.10 nova looks at no query, and answers for the user of the token.
    let wanted = queried(&uri, "user_id").filter(|_| version >= (2, 10));
    let user_id = wanted.unwrap_or_else(|| who.user_id.clone());
    if !who.is_admin && user_id != who.user_id {
        let message = "Policy doesn't allow os_compute_api:os-keypairs:show to be performed.";
        return fault(StatusCode::FORBIDDEN, "forbidden", message);
    }
    let things = state.things.lock().expect("no handler panics");
    let mut keypairs = things.keypairs.iter();
    match keypairs.find(|pair| pair["user_id"] == *user_id && pair["name"] == *name) {
        Some(keypair) => Json(json!({ "keypair": keypair })).into_response(),
        None => {
            let message = format!("Keypair {name} not found for user {user_id}");
            fault(StatusCode::NOT_FOUND, "itemNotFound", &message)
        }
    }
}

async fn ports(State(state): State<Shared>, who: Who, uri: Uri) -> Response {
    let things = state.things.lock().expect("no handler panics");
    let wanted = queried(&uri, "device_id");
    let ports = things.ports.iter().filter(|port| {
        let asked_for = wanted.as_ref().is_none_or(|id| port["device_id"] == *id);
        asked_for && (who.is_admin || port["project_id"] == *who.project_id)
    });
    Json(json!({ "ports": ports.collect::<Vec<_>>() })).into_response()
}

fn queried(uri: &Uri, key: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
    pairs
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.into_owned())
}

/// Which microversion a request is in: the oldest, unless it says.
fn version(headers: &HeaderMap) -> Option<(u32, u32)> {
    let Some(text) = headers.get("openstack-api-version") else {
        return Some((2, 1));
    };
    let version = text.to_str().ok()?.strip_prefix("compute ")?;
    let (major, minor) = version.split_once('.')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    ((2, 1)..=NEWEST).contains(&version).then_some(version)
}

fn unsupported() -> Response {
    let message = "Version is not supported by the API.";
    fault(StatusCode::NOT_ACCEPTABLE, "computeFault", message)
}

fn fault(status: StatusCode, name: &str, message: &str) -> Response {
    let body = json!({ name: {"code": status.as_u16(), "message": message} });
    (status, Json(body)).into_response()
}
