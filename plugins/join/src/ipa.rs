//! FreeIPA's JSON-RPC, as much of it as one command on one host needs.
//!
//! A session is a cookie, which stays in the gateway and outlives the call: most calls find one there,
//! and one request is all they make. FreeIPA's 401 is the sign that there is none, or an old one.

mod failure;

use serde::Deserialize;
use serde_json::{Value, json};
use vendordock_plugin::http::{AuthScheme, HttpError, IncomingResponse, Method, OutgoingRequest};

use crate::settings::Settings;
use failure::{misconfigured, unexpected, unsent};

pub(crate) use failure::{Failure, bounded};

/// Sends requests to the configured server by way of `wire`, the gateway's HTTP client with the
/// credential.
pub(crate) struct Client<'a, W> {
    settings: &'a Settings,
    wire: W,
}

/// What a command answers, in its envelope. Errors come with status 200.
#[derive(Deserialize)]
struct Envelope {
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

impl<'a, W> Client<'a, W>
where
    W: FnMut(OutgoingRequest, AuthScheme) -> Result<IncomingResponse, HttpError>,
{
    pub(crate) fn new(settings: &'a Settings, wire: W) -> Self {
        Self { settings, wire }
    }

    /// Runs a command on one host, logging in first if need be.
    pub(crate) fn call(
        &mut self,
        command: &'static str,
        fqdn: &str,
        mut options: Value,
    ) -> Result<Value, Failure> {
        options["version"] = Value::from(self.settings.api_version.as_str());
        let body = json!({ "method": command, "params": [[fqdn], options], "id": 0 }).to_string();
        let mut response = self.ask(&body)?;
        if response.status == 401 {
            self.log_in()?;
            response = self.ask(&body)?;
        }
        match response.status {
            200 => result(command, &response.body),
            401 => Err(Failure::upstream(
                "FreeIPA does not accept the session that it has just given",
            )),
            _ => Err(unexpected(&response)),
        }
    }

    fn ask(&mut self, body: &str) -> Result<IncomingResponse, Failure> {
        self.post(
            "/ipa/session/json",
            "application/json",
            body,
            AuthScheme::Session,
        )
    }

    fn log_in(&mut self) -> Result<(), Failure> {
        // The schema lets no character into the name that a form would have to encode.
        let form = format!("user={}", self.settings.user);
        let response = self.post(
            "/ipa/session/login_password",
            "application/x-www-form-urlencoded",
            &form,
            AuthScheme::FormField("password".to_owned()),
        )?;
        match response.status {
            200 => Ok(()),
            401 => {
                let reason =
                    header(&response, "x-ipa-rejection-reason").unwrap_or("no reason given");
                let reason = bounded(reason);
                let message = format!("FreeIPA refuses to let this user log in: {reason}");
                Err(misconfigured("/user", message))
            }
            _ => Err(unexpected(&response)),
        }
    }

    fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: &str,
        scheme: AuthScheme,
    ) -> Result<IncomingResponse, Failure> {
        let server = self.settings.server();
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let request = OutgoingRequest {
            method: Method::Post,
            url: format!("{server}{path}"),
            headers: vec![
                header("content-type", content_type),
                header("accept", "application/json, text/plain"),
                header("referer", &referer(server)),
            ],
            body: Some(body.as_bytes().to_vec()),
            ..OutgoingRequest::default()
        };
        (self.wire)(request, scheme).map_err(|error| unsent(server, error))
    }
}

/// FreeIPA compares the beginning of the text with `https://`, its own host name and `/ipa`: a port
/// would be in the way.
fn referer(server: &str) -> String {
    let host = server.strip_prefix("https://").unwrap_or(server);
    let host = host.split(':').next().unwrap_or(host);
    format!("https://{host}/ipa")
}

fn result(command: &'static str, body: &[u8]) -> Result<Value, Failure> {
    let envelope = serde_json::from_slice(body);
    match envelope {
        Ok(Envelope {
            error: Some(Refusal { code, message }),
            ..
        }) => Err(Failure::Refused {
            command,
            code,
            message,
        }),
        Ok(Envelope {
            result: Some(result),
            error: None,
        }) => Ok(result),
        // Neither body nor parser's message: the password went out, and may have come back.
        _ => Err(Failure::upstream("FreeIPA's answer is not JSON-RPC")),
    }
}

fn header<'a>(response: &'a IncomingResponse, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    let (_, value) = headers.find(|(given, _)| given.eq_ignore_ascii_case(name))?;
    str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests;
