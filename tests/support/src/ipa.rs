//! A strict FreeIPA: log-in by password, a session cookie, and JSON-RPC, over TLS.
//!
//! What it insists on is what FreeIPA's rpcserver insists on: the `Referer` that starts with
//! `https://` and the server's own name and `/ipa` (the name alone: the real server knows nothing of
//! ports, and a port in there is refused by both), the form's content type, the cookie, `params` of
//! one list and one dictionary, options that the command has. Errors of commands come with
//! status 200.
//!
//! It knows less than the real one in this: the commands are `batch`, `host_add`, `host_del`,
//! `host_disable`, `host_mod`, `host_show`, `ping`, `service_add` and `service_add_host`, with the
//! options that enrolment uses. Others answer 905, or 3005 for an option. There is no DNS, so `host_add`
//! and `service_add` without `force` always answer 4019. There are no replicas, and one user only.

mod commands;
mod directory;
mod error;
mod http;
mod log_in;
mod params;
mod rpc;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

pub use directory::Host;
pub use log_in::Rejection;

use crate::server::Server;
use crate::{Authority, Faults};
use directory::Directory;
use error::PublicError;
use log_in::LogIns;

/// What `Referer` must say.
const SERVER_NAME: &str = "localhost";
const REALM: &str = "EXAMPLE.TEST";
/// What FreeIPA 4.12 says of itself.
const VERSION: &str = "4.12.2";
const API_VERSION: &str = "2.254";

/// A running stand-in for FreeIPA.
pub struct Ipa {
    server: Server,
    authority: Authority,
    faults: Arc<Faults>,
    state: Arc<Mutex<State>>,
}

/// One call of a command, as it came. The members of a `batch` are not calls of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The command, without a `/1`.
    pub method: String,
    /// The positional arguments.
    pub args: Vec<Value>,
    /// The options, with passwords masked: see [`Ipa::otp`].
    pub options: Value,
}

/// All that the handlers share with the test.
#[derive(Default)]
struct State {
    directory: Directory,
    log_ins: LogIns,
    calls: Vec<Call>,
    fail_next: VecDeque<PublicError>,
    rejected: HashMap<String, PublicError>,
}

impl Ipa {
    /// The one user there is, who may do everything.
    pub const USER: &'static str = "vendordock";
    /// That user's password at first. It has characters that a form must encode.
    pub const PASSWORD: &'static str = "Secret 123 & more=%";

    /// Starts an empty one.
    pub async fn start() -> Self {
        let authority = Authority::new();
        // The address too, so that a client that uses it gets as far as the `Referer` check.
        let tls = authority.server_config(&[SERVER_NAME, "127.0.0.1"]);
        let faults = Arc::new(Faults::default());
        let state = Arc::new(Mutex::new(State::default()));
        let router = http::router(Arc::clone(&state), Arc::clone(&faults));
        Self {
            server: Server::start(router, Some(tls)),
            authority,
            faults,
            state,
        }
    }

    /// Its origin, `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("https://{SERVER_NAME}:{}", self.server.port())
    }

    /// The CA that signed its certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// Its Kerberos realm.
    pub fn realm(&self) -> &'static str {
        REALM
    }

    /// Trouble below the protocol.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Refuses connections until [`restart`](Self::restart). Hosts and sessions survive.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again, on the same port.
    pub async fn restart(&self) {
        self.server.restart();
    }

    /// Cuts all connections, as Apache does with those that were idle for long.
    pub async fn drop_connections(&self) {
        self.server.drop_connections().await;
    }

    /// What is stored under a name.
    pub fn host(&self, fqdn: &str) -> Option<Host> {
        self.state().directory.host(fqdn).cloned()
    }

    /// Stores a host, in place of what is there: for a test that begins in the middle.
    pub fn put_host(&self, fqdn: &str, host: Host) {
        self.state().directory.put_host(fqdn, host);
    }

    /// The one-time password that waits for a host, in clear.
    pub fn otp(&self, fqdn: &str) -> Option<String> {
        self.host(fqdn)?.otp
    }

    /// Does what `ipa-client-install` does with a one-time password: uses it up and fetches a keytab.
    /// False when the server does not accept it.
    #[must_use = "the password may be refused"]
    pub fn enroll(&self, fqdn: &str, otp: &str) -> bool {
        self.state().directory.enroll(fqdn, otp)
    }

    /// The hosts that manage a service, by the principal without its realm.
    pub fn service(&self, principal: &str) -> Option<Vec<String>> {
        self.state().directory.service(principal)
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How often a command was called.
    pub fn count(&self, method: &str) -> usize {
        let state = self.state();
        let calls = state.calls.iter();
        calls.filter(|call| call.method == method).count()
    }

    /// How often somebody tried to log in, with or without success.
    pub fn log_ins(&self) -> usize {
        self.state().log_ins.attempts
    }

    /// The next call is answered with this error. Several are used up in order.
    ///
    /// # Panics
    ///
    /// When FreeIPA has no error of that code.
    pub fn fail_next(&self, code: u32) {
        let error = PublicError::by_code(code);
        self.state().fail_next.push_back(error);
    }

    /// Each call of the command is answered with this error, in a `batch` too.
    ///
    /// # Panics
    ///
    /// When FreeIPA has no error of that code.
    pub fn reject(&self, method: &str, code: u32) {
        let error = PublicError::by_code(code);
        self.state().rejected.insert(method.to_owned(), error);
    }

    /// Takes back [`reject`](Self::reject).
    pub fn accept(&self, method: &str) {
        self.state().rejected.remove(method);
    }

    /// No cookie given so far is accepted any more.
    pub fn expire_sessions(&self) {
        self.state().log_ins.expire_sessions();
    }

    /// Refuses log-ins for this reason, whatever the password. Sessions go on.
    pub fn reject_log_ins(&self, reason: Rejection) {
        self.state().log_ins.rejection = Some(reason);
    }

    /// Locks the user, as too many wrong passwords do.
    pub fn lock_user(&self) {
        self.reject_log_ins(Rejection::UserLocked);
    }

    /// Takes back [`reject_log_ins`](Self::reject_log_ins) and [`lock_user`](Self::lock_user).
    pub fn accept_log_ins(&self) {
        self.state().log_ins.rejection = None;
    }

    /// Gives the user another password. Sessions go on.
    pub fn change_password(&self, password: &str) {
        password.clone_into(&mut self.state().log_ins.password);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no command panics")
    }
}

#[cfg(test)]
mod tests;
