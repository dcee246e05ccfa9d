//! A small strict keystone: tokens by password, their validation, the catalogue, and projects and domains by id.
//!
//! For the demo, and for tests of what happens when keystone misbehaves; the end-to-end tests run the
//! real one. It answers as keystone 30 does, also where that surprises: a bad subject token is 404 for
//! whoever may ask, a bad caller 401, roles are expanded, and the text of a 404 repeats the token.
//!
//! It knows less than the real one in this: project scope and the password method only, one domain, no
//! `allow_expired`, no version discovery, and no rule that is configurable: a project is for admins to see, and for those
//! whose token is of it.

mod catalogue;
mod http;
mod time;
mod tokens;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::server::Server;
use crate::{Authority, Faults};
pub(crate) use http::unauthorized;
use tokens::{Account, Tokens};

/// A running stand-in for keystone.
pub struct Keystone {
    server: Server,
    scheme: &'static str,
    faults: Arc<Faults>,
    state: Arc<Mutex<State>>,
}

/// All that the handlers share with the test.
#[derive(Default)]
pub(crate) struct State {
    tokens: Tokens,
    catalogue: Vec<Value>,
    projects_asked: Vec<String>,
    catalogue_reads: usize,
    validations: usize,
    log_ins: usize,
}

/// Whose a token is, for a service that is shown it.
pub(crate) struct Bearer {
    pub(crate) project_id: String,
    pub(crate) user_id: String,
    pub(crate) is_admin: bool,
}

impl Keystone {
    /// Starts one that knows nobody.
    pub async fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one over TLS, with a certificate of this authority.
    pub async fn start_tls(authority: &Authority) -> Self {
        Self::start_with(Some(authority.server_config(&["127.0.0.1"])))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let faults = Arc::new(Faults::default());
        let state = Arc::new(Mutex::new(State::default()));
        let router = http::router(Arc::clone(&state), Arc::clone(&faults));
        Self {
            server: Server::start(router, tls),
            scheme,
            faults,
            state,
        }
    }

    /// What OpenStack calls `auth_url`: `http://127.0.0.1:PORT/v3`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/v3", self.scheme, self.server.port())
    }

    /// Trouble below the protocol.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Refuses connections until [`restart`](Self::restart). Accounts and tokens survive.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again, on the same port.
    pub async fn restart(&self) {
        self.server.restart();
    }

    /// Cuts all connections.
    pub async fn drop_connections(&self) {
        self.server.drop_connections().await;
    }

    /// Lets a user of the domain `Default` log in to a project of that domain.
    pub fn add_account(&self, user: &str, password: &str, project: &str, roles: &[&str]) {
        self.state().tokens.add_account(Account {
            user: user.to_owned(),
            password: password.to_owned(),
            project: project.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        });
    }

    /// This password is good for nothing any more.
    pub fn forget_password(&self, user: &str, password: &str) {
        self.state().tokens.forget_password(user, password);
    }

    /// Makes a token without a log-in.
    pub fn issue(&self, user: &str, project: &str, roles: &[&str], ttl: Duration) -> String {
        let mut state = self.state();
        state.tokens.issue(user, project, roles, ttl)
    }

    /// The token is worth nothing from now on. Unknown ones are none the better.
    pub fn revoke(&self, token: &str) {
        self.state().tokens.revoke(token);
    }

    /// The same for all of a user's tokens: of those that somebody else holds, too.
    pub fn revoke_all_of(&self, user: &str) {
        self.state().tokens.revoke_all_of(user);
    }

    /// The id of a project, whether it was seen before or not.
    pub fn project_id(&self, name: &str) -> String {
        self.state().tokens.id_of(tokens::Kind::Project, name)
    }

    /// The id of a user, whether seen before or not.
    pub fn user_id(&self, name: &str) -> String {
        self.state().tokens.id_of(tokens::Kind::User, name)
    }

    /// How often a validation was asked for, whatever the answer.
    pub fn validations(&self) -> usize {
        self.state().validations
    }

    /// How often somebody tried to log in, with or without success.
    pub fn log_ins(&self) -> usize {
        self.state().log_ins
    }

    /// Puts a service's endpoint into the catalogue, in place of those that the service has there. The URL is used as it
    /// is, for every interface.
    pub fn list(&self, service_type: &str, region: &str, url: &str) {
        let endpoint = |interface: &str| {
            json!({
                "id": uuid::Uuid::new_v4().simple().to_string(),
                "interface": interface,
                "region": region,
                "region_id": region,
                "url": url,
            })
        };
        let endpoints = ["public", "internal", "admin"].map(endpoint);
        let mut state = self.state();
        state
            .catalogue
            .retain(|service| service["type"] != service_type);
        state.catalogue.push(json!({
            "id": uuid::Uuid::new_v4().simple().to_string(),
            "name": service_type,
            "type": service_type,
            "endpoints": endpoints,
        }));
    }

    /// Takes a service out of the catalogue.
    pub fn unlist(&self, service_type: &str) {
        let mut state = self.state();
        state
            .catalogue
            .retain(|service| service["type"] != service_type);
    }

    /// How often somebody asked for the catalogue.
    pub fn catalogue_reads(&self) -> usize {
        self.state().catalogue_reads
    }

    /// The paths of all projects and domains that were asked for, as they came.
    pub fn projects_asked(&self) -> Vec<String> {
        self.state().projects_asked.clone()
    }

    /// For services that are shown this keystone's tokens.
    pub(crate) fn shared(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no handler panics")
    }
}

impl State {
    /// Whose a token is; nobody's when it is worth nothing.
    pub(crate) fn bearer(&mut self, token: &str) -> Option<Bearer> {
        let token = self.tokens.valid(token)?;
        Some(self.tokens.bearer(&token))
    }
}

#[cfg(test)]
mod tests;
