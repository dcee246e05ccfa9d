//! A service that lets in whoever shows a secret that it knows, in each of the ways in which the gateway can show one.
//!
//! It is as strict as the strictest that it stands for: one `Authorization` and no other, the scheme's name in its usual
//! spelling, a log-in with the two fields and nothing else, a session that is one cookie. Whatever is not right is 401 with
//! nothing said.
//!
//! | route | the secret is |
//! | --- | --- |
//! | `/bearer` | a bearer token |
//! | `/basic` | the password of `alice` |
//! | `/header` | the value of `X-Api-Key` |
//! | POST `/log-in` | the field `password`, beside `user=alice`; a cookie comes back |
//! | `/session` | that cookie |
//! | `/certificate` | the key of a certificate that was shown in TLS |
//! | `/front` | the value of `CF-Access-Client-Secret`, and its name is `CF-Access-Client-Id: front` |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::server::{ClientCertificate, Server};
use crate::{Authority, Issued};

/// A running one.
pub struct Guarded {
    server: Server,
    scheme: &'static str,
    state: Arc<Mutex<Known>>,
}

/// A request, as far as it shows who made it.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Where.
    pub path: String,
    /// `X-Call`, if the test had one sent.
    pub call: String,
    /// The secret behind what was shown, when it was one.
    pub secret: Option<String>,
    /// The status that it got.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
}

#[derive(Default)]
struct Known {
    secrets: Vec<String>,
    certificates: Vec<Vec<u8>>,
    sessions: HashMap<String, String>,
    visits: Vec<Visit>,
}

impl Guarded {
    /// Starts one that knows no secret, in plain HTTP.
    pub async fn start() -> Self {
        Self::start_with("http", None)
    }

    /// Starts one with a certificate of the first authority, for clients that show one of the second.
    pub async fn start_tls(authority: &Authority, clients: Option<&Authority>) -> Self {
        let tls = authority.server_config_for(&["127.0.0.1"], clients);
        Self::start_with("https", Some(tls))
    }

    fn start_with(scheme: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let state = Arc::<Mutex<Known>>::default();
        let router = Router::new().fallback(visit).with_state(state.clone());
        Self {
            server: Server::start(router, tls),
            scheme,
            state,
        }
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.server.port())
    }

    /// From now on these are known, and no others. Sessions that others have begun end.
    pub fn know(&self, secrets: &[&str]) {
        let secrets: Vec<String> = secrets.iter().map(|&secret| secret.to_owned()).collect();
        self.state().secrets = secrets;
    }

    /// The same for certificates.
    ///
    /// # Panics
    ///
    /// When one is no PEM.
    pub fn know_certificates(&self, certificates: &[&Issued]) {
        let der = |issued: &&Issued| {
            let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes());
            der.expect("PEM").to_vec()
        };
        self.state().certificates = certificates.iter().map(der).collect();
    }

    /// All requests so far.
    pub fn visits(&self) -> Vec<Visit> {
        self.state().visits.clone()
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().expect("no handler panics")
    }
}

async fn visit(State(state): State<Arc<Mutex<Known>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024).await;
    let body = body.unwrap_or_default();
    let mut state = state.lock().expect("no handler panics");
    let path = parts.uri.path().to_owned();
    let certificate = parts.extensions.get::<ClientCertificate>();
    let secret = state.shown(&path, &parts.method, &parts.headers, &body, certificate);
    let status = match secret {
        Some(_) => StatusCode::OK,
        None => StatusCode::UNAUTHORIZED,
    };
    let call = parts.headers.get("x-call");
    let call = call.and_then(|call| call.to_str().ok()).unwrap_or_default();
    state.visits.push(Visit {
        call: call.to_owned(),
        secret: secret.clone(),
        status: status.as_u16(),
        headers: parts.headers,
        path: path.clone(),
    });
    match secret {
        Some(secret) if path == "/log-in" => {
            let cookie = uuid::Uuid::new_v4().to_string();
            let set = format!("session={cookie}; Path=/; HttpOnly");
            state.sessions.insert(cookie, secret);
            (status, [(SET_COOKIE, set)]).into_response()
        }
        _ => status.into_response(),
    }
}

impl Known {
    /// The secret behind what a request shows, if it is all right.
    fn shown(
        &self,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
        certificate: Option<&ClientCertificate>,
    ) -> Option<String> {
        let known = |secret: &str| self.secrets.iter().find(|known| *known == secret).cloned();
        match path {
            "/bearer" => known(only(headers, AUTHORIZATION.as_str())?.strip_prefix("Bearer ")?),
            "/basic" => {
                let shown = only(headers, AUTHORIZATION.as_str())?;
                let mut secrets = self.secrets.iter();
                let found = secrets.find(|secret| {
                    shown
                        == format!(
                            "Basic {}",
                            BASE64_STANDARD.encode(format!("alice:{secret}"))
                        )
                });
                found.cloned()
            }
            "/header" => known(only(headers, "x-api-key")?),
            "/log-in" => {
                let form = only(headers, CONTENT_TYPE.as_str())?;
                if method != Method::POST || form != "application/x-www-form-urlencoded" {
                    return None;
                }
                let fields: Vec<_> = url::form_urlencoded::parse(body).collect();
                match &fields[..] {
                    [(user, alice), (field, secret)]
                        if user == "user" && alice == "alice" && field == "password" =>
                    {
                        known(secret)
                    }
                    _ => None,
                }
            }
            "/session" => {
                let cookie = only(headers, COOKIE.as_str())?.strip_prefix("session=")?;
                known(self.sessions.get(cookie)?)
            }
            "/certificate" => {
                let ClientCertificate(shown) = certificate?;
                let at = self.certificates.iter().position(|known| known == shown)?;
                Some(format!("certificate {at}"))
            }
            "/front" => {
                let id = only(headers, "cf-access-client-id")?;
                let secret = only(headers, "cf-access-client-secret")?;
                if id == "front" { known(secret) } else { None }
            }
            _ => None,
        }
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
