//! `/v3/auth/catalog`, `/v3/projects/ID` and `/v3/domains/ID`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::http::{Stored, error, text, unauthorized};

pub(super) async fn catalogue(State(state): Stored, headers: HeaderMap) -> Response {
    let mut state = state.lock().expect("no handler panics");
    state.catalogue_reads += 1;
    if state.tokens.valid(text(&headers, "x-auth-token")).is_none() {
        return unauthorized(&headers);
    }
    let links = json!({ "self": "http://keystone.example.test/v3/auth/catalog" });
    Json(json!({ "catalog": state.catalogue, "links": links })).into_response()
}

pub(super) async fn project(
    State(state): Stored,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let mut state = state.lock().expect("no handler panics");
    state.projects_asked.push(uri.to_string());
    let Some(bearer) = state.bearer(text(&headers, "x-auth-token")) else {
        return unauthorized(&headers);
    };
    // Keystone looks for it first: what is not there is forbidden to nobody.
    let Some(name) = state.tokens.project_name(&id) else {
        return error(
            StatusCode::NOT_FOUND,
            &format!("Could not find project: {id}."),
        );
    };
    if !bearer.is_admin && bearer.project_id != id {
        return error(
            StatusCode::FORBIDDEN,
            "You are not authorized to perform the requested action: identity:get_project.",
        );
    }
    Json(json!({ "project": {
        "id": id,
        "name": name,
        "domain_id": "default",
        "description": "",
        "enabled": true,
        "parent_id": "default",
        "is_domain": false,
        "tags": [],
        "options": {},
        "links": { "self": format!("http://keystone.example.test/v3/projects/{id}") },
    }}))
    .into_response()
}

pub(super) async fn domain(
    State(state): Stored,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let mut state = state.lock().expect("no handler panics");
    state.projects_asked.push(uri.to_string());
    if state.bearer(text(&headers, "x-auth-token")).is_none() {
        return unauthorized(&headers);
    }
    if id != "default" {
        return error(
            StatusCode::NOT_FOUND,
            &format!("Could not find domain: {id}."),
        );
    }
    Json(json!({ "domain": {
        "id": "default",
        "name": "Default",
        "description": "The default domain",
        "enabled": true,
        "tags": [],
        "options": {},
        "links": { "self": "http://keystone.example.test/v3/domains/default" },
    }}))
    .into_response()
}
