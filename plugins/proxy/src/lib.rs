//! Forwards to a service that answers nova's DynamicJSON already.
//!
//! A site with several such services can put the gateway in front of all and move one target at a time. The service gets
//! the request as nova sent it, without nova's token, which no plugin has; its answer is checked like any other.

mod answer;
mod settings;

use vendordock_plugin::credentials::{self, CredentialError};
use vendordock_plugin::http::{self, AuthScheme, Method, OutgoingRequest};
use vendordock_plugin::{Error, FieldError, Manifest, Plugin, Request, Response, config, export};

use settings::Settings;

struct Proxy;

impl Plugin for Proxy {
    fn describe() -> Manifest {
        Manifest {
            name: "proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Forwards to a service that answers nova already".to_owned(),
            config_schema: settings::SCHEMA.to_owned(),
            wants_urls: vec!["<url>".to_owned()],
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        let forwarded = forwarded(&settings, &request);
        let received = match &settings.credential {
            Some(name) => {
                let credential = credentials::open(name).map_err(no_credential)?;
                let scheme = match &settings.header {
                    Some(header) => AuthScheme::Header(header.clone()),
                    None => AuthScheme::Bearer,
                };
                http::send_with(&forwarded, &credential, &scheme)
            }
            None => http::send(&forwarded),
        };
        answer::respond(&settings, received)
    }
}

export!(Proxy);

/// What nova would send, but for its token.
fn forwarded(settings: &Settings, request: &Request) -> OutgoingRequest {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    OutgoingRequest {
        method: Method::Post,
        url: settings.url.clone(),
        headers: vec![
            header("accept", "application/json"),
            header("content-type", "application/json"),
            header("user-agent", "openstack-nova-vendordata"),
        ],
        body: Some(request.raw.clone().into_bytes()),
        max_redirects: settings.redirects,
        ..OutgoingRequest::default()
    }
}

fn no_credential(error: CredentialError) -> Error {
    let message = match error {
        CredentialError::NotGranted => "no credential of this name is granted".to_owned(),
        CredentialError::Opaque => "the credential cannot be used this way".to_owned(),
        CredentialError::Unavailable(reason) => format!("the credential is unavailable: {reason}"),
    };
    Error::Misconfigured(vec![FieldError {
        pointer: "/credential".to_owned(),
        message,
    }])
}
