//! Makes the HTTP request that the instance's metadata describes, and reports what came of it.
//!
//! | key | |
//! | --- | --- |
//! | `url` | where to; without it, nothing is sent |
//! | `method`, `body` | `GET` and none, unless given |
//! | `header` | one `name: value` |
//! | `timeout_ms`, `max_redirects` | numbers |
//! | `keep_ms` | how long the answer may be used again; not at all, unless given |
//! | `credential` | name of a credential to send with |
//! | `scheme` | how: the name in the WIT package, then `:` and its text: `basic:alice`, `header:x-key` |
//! | `log_in` | where to log `alice` in with that credential, before and in the same call |
//! | `use` | what else to do with the credential, without a request: `version`, `reveal`, or `hmac:sha256` of `data` |
//! | `data` | bytes in hexadecimal digits |
//!
//! The answer is `{"status", "headers", "body"}`, or `{"error"}` with the error as Rust prints it, or
//! `{"credential_error"}`, or `{"used"}` with a text, which for bytes is in hexadecimal digits.

use serde_json::{Value, json};
use vendordock_plugin::credentials::{self, Credential, CredentialError, Digest};
use vendordock_plugin::http::{
    self, AuthScheme, HttpError, IncomingResponse, Method, OutgoingRequest,
};
use vendordock_plugin::{
    CacheHint, CacheScope, Error, FieldError, Instance, Manifest, Plugin, Request, Response, export,
};

struct Fetch;

impl Plugin for Fetch {
    fn describe() -> Manifest {
        Manifest {
            name: "fetch".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let instance = request.instance;
        if let Some(what) = instance.metadata_value("use") {
            return Response::json(&used(&instance, what)?);
        }
        let Some(request) = outgoing(&instance)? else {
            return Ok(Response::default());
        };
        let answer = answer(&instance, &request)?;
        let keep_ms: Option<u32> = number(&instance, "keep_ms")?;
        Ok(Response {
            cache: keep_ms.map(|ttl_ms| CacheHint {
                scope: CacheScope::Instance,
                ttl_ms,
                stale_if_error_ms: 0,
            }),
            ..Response::json(&answer)?
        })
    }
}

fn answer(instance: &Instance, request: &OutgoingRequest) -> Result<Value, Error> {
    let Some(name) = instance.metadata_value("credential") else {
        return Ok(report(http::send(request)));
    };
    let scheme = scheme(instance.metadata_value("scheme").unwrap_or("bearer"))?;
    Ok(match credentials::open(name) {
        Ok(credential) => {
            if let Some(url) = instance.metadata_value("log_in")
                && let Err(error) = log_in(url, request, &credential)
            {
                return Ok(json!({ "error": format!("{error:?}") }));
            }
            report(http::send_with(request, &credential, &scheme))
        }
        Err(error) => json!({ "credential_error": format!("{error:?}") }),
    })
}

/// With the headers of the request that follows.
fn log_in(url: &str, then: &OutgoingRequest, credential: &Credential) -> Result<(), HttpError> {
    let request = OutgoingRequest {
        method: Method::Post,
        url: url.to_owned(),
        headers: then.headers.clone(),
        body: Some(b"user=alice".to_vec()),
        ..OutgoingRequest::default()
    };
    let scheme = AuthScheme::FormField("password".to_owned());
    http::send_with(&request, credential, &scheme).map(|_answer| ())
}

fn used(instance: &Instance, what: &str) -> Result<Value, Error> {
    let name = instance.metadata_value("credential").unwrap_or_default();
    let data = instance.metadata_value("data").unwrap_or_default();
    let data = bytes(data).ok_or_else(|| wrong("data"))?;
    let used = credentials::open(name).and_then(|credential| use_it(&credential, what, &data));
    Ok(match used {
        Ok(text) => json!({ "used": text }),
        Err(error) => json!({ "credential_error": format!("{error:?}") }),
    })
}

fn use_it(credential: &Credential, what: &str, data: &[u8]) -> Result<String, CredentialError> {
    let hmac = |digest| credential.hmac(digest, data).map(|bytes| digits(&bytes));
    match what {
        "version" => Ok(credential.version()),
        "reveal" => credential.reveal().map(|bytes| digits(&bytes)),
        "hmac:sha1" => hmac(Digest::Sha1),
        "hmac:sha256" => hmac(Digest::Sha256),
        "hmac:sha512" => hmac(Digest::Sha512),
        _ => Ok(format!("no use {what}")),
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    pairs.map(byte).collect()
}

fn outgoing(instance: &Instance) -> Result<Option<OutgoingRequest>, Error> {
    let Some(url) = instance.metadata_value("url") else {
        return Ok(None);
    };
    let header = match instance.metadata_value("header") {
        Some(header) => Some(header.split_once(": ").ok_or_else(|| wrong("header"))?),
        None => None,
    };
    Ok(Some(OutgoingRequest {
        method: method(instance.metadata_value("method").unwrap_or("GET"))?,
        url: url.to_owned(),
        headers: header
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into_iter()
            .collect(),
        body: instance
            .metadata_value("body")
            .map(|body| body.as_bytes().to_vec()),
        timeout_ms: number(instance, "timeout_ms")?,
        max_redirects: number(instance, "max_redirects")?.unwrap_or(0),
    }))
}

fn method(name: &str) -> Result<Method, Error> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        "PATCH" => Ok(Method::Patch),
        "DELETE" => Ok(Method::Delete),
        "OPTIONS" => Ok(Method::Options),
        _ => Err(wrong("method")),
    }
}

fn scheme(text: &str) -> Result<AuthScheme, Error> {
    let (name, argument) = text.split_once(':').unwrap_or((text, ""));
    let argument = argument.to_owned();
    match name {
        "bearer" => Ok(AuthScheme::Bearer),
        "basic" => Ok(AuthScheme::Basic(argument)),
        "header" => Ok(AuthScheme::Header(argument)),
        "form-field" => Ok(AuthScheme::FormField(argument)),
        "session" => Ok(AuthScheme::Session),
        "negotiate" => Ok(AuthScheme::Negotiate(argument)),
        "client-certificate" => Ok(AuthScheme::ClientCertificate),
        _ => Err(wrong("scheme")),
    }
}

fn number<T: std::str::FromStr>(instance: &Instance, key: &str) -> Result<Option<T>, Error> {
    match instance.metadata_value(key) {
        Some(text) => text.parse().map(Some).map_err(|_| wrong(key)),
        None => Ok(None),
    }
}

fn wrong(key: &str) -> Error {
    Error::InvalidRequest(vec![FieldError {
        pointer: format!("/metadata/{key}"),
        message: "not understood".to_owned(),
    }])
}

fn report(outcome: Result<IncomingResponse, HttpError>) -> Value {
    match outcome {
        Ok(response) => json!({
            "status": response.status,
            "headers": response
                .headers
                .iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(value)))
                .collect::<Vec<_>>(),
            "body": String::from_utf8_lossy(&response.body),
        }),
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}

export!(Fetch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_its_name_and_its_text() {
        assert_eq!(scheme("session"), Ok(AuthScheme::Session));
        assert_eq!(
            scheme("negotiate:HTTP@ipa.example.test"),
            Ok(AuthScheme::Negotiate("HTTP@ipa.example.test".to_owned()))
        );
        assert_eq!(scheme("digest:alice"), Err(wrong("scheme")));
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(bytes("00ffa0"), Some(vec![0, 0xff, 0xa0]));
        assert_eq!(digits(&[0, 0xff, 0xa0]), "00ffa0");
        assert_eq!(bytes("0"), None);
        assert_eq!(bytes("0g"), None);
    }

    #[test]
    fn a_failure_is_reported_as_it_is() {
        let report = report(Err(HttpError::ResponseTooLarge(1024)));

        assert_eq!(
            report,
            json!({ "error": "HttpError::ResponseTooLarge(1024)" })
        );
    }
}
