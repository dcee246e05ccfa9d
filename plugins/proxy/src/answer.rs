//! From what the service answered to what nova gets.

use serde::de::IgnoredAny;
use vendordock_plugin::http::{HttpError, IncomingResponse};
use vendordock_plugin::{CacheHint, CacheScope, Error, FieldError, Response};

use crate::settings::Settings;

pub(crate) fn respond(
    settings: &Settings,
    received: Result<IncomingResponse, HttpError>,
) -> Result<Response, Error> {
    let received = received.map_err(unsent)?;
    let body = match received.status {
        // nova takes an empty body for an empty object.
        200..300 if received.body.trim_ascii().is_empty() => "{}".to_owned(),
        200..300 => json(received.body)?,
        _ => return Err(refused(&received)),
    };
    Ok(Response {
        body,
        secret: settings.secret,
        cache: Some(CacheHint {
            scope: CacheScope::Instance,
            ttl_ms: settings.ttl_ms,
            stale_if_error_ms: 0,
        }),
        ..Response::default()
    })
}

/// The gateway checks the answer as it checks every plugin's. Here it is found out whose fault it is that it is no JSON.
fn json(body: Vec<u8>) -> Result<String, Error> {
    let text = String::from_utf8(body)
        .ok()
        .filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    text.ok_or_else(|| Error::Upstream("the service's answer is not JSON".to_owned()))
}

/// The service's own words stay there: they would go to nova's log, and may be about anything.
fn refused(received: &IncomingResponse) -> Error {
    let status = received.status;
    match status {
        300..400 => field(
            "/redirects",
            format!("the service answers {status}, and no more redirects are followed"),
        ),
        400 => Error::InvalidRequest(vec![FieldError {
            pointer: String::new(),
            message: "the service cannot serve this instance as it is (400)".to_owned(),
        }]),
        401 => field(
            "/credential",
            "the service does not take the credential (401); nova's own token is never forwarded"
                .to_owned(),
        ),
        403 => Error::Forbidden("the service refuses this instance (403)".to_owned()),
        404 | 410 => Error::NotFound(format!(
            "the service knows nothing of this instance ({status})"
        )),
        409 => Error::Conflict("the service has a conflict (409)".to_owned()),
        429 => Error::Throttled(retry_after(received).unwrap_or(1_000)),
        503 => Error::Unavailable(retry_after(received)),
        504 => Error::UpstreamTimeout("the service answers 504".to_owned()),
        _ => Error::Upstream(format!("the service answers {status}")),
    }
}

/// In milliseconds. The other form, a date, is not worth a clock.
fn retry_after(received: &IncomingResponse) -> Option<u32> {
    let mut headers = received.headers.iter();
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    let seconds: u32 = str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

fn unsent(error: HttpError) -> Error {
    match error {
        HttpError::Dns(detail) => Error::Upstream(format!("cannot find the service: {detail}")),
        HttpError::Connect(detail) => {
            Error::Upstream(format!("cannot connect to the service: {detail}"))
        }
        HttpError::Tls(detail) => Error::Upstream(format!("no trust in the service: {detail}")),
        HttpError::Protocol(detail) => {
            Error::Upstream(format!("no usable answer from the service: {detail}"))
        }
        HttpError::ResponseTooLarge(limit) => {
            Error::Upstream(format!("the service's answer has more than {limit} bytes"))
        }
        HttpError::Timeout => {
            Error::UpstreamTimeout("no answer from the service in time".to_owned())
        }
        HttpError::Denied(detail) => field("/url", format!("not granted: {detail}")),
        HttpError::InvalidRequest(detail) => field("/url", format!("not to be sent: {detail}")),
        HttpError::Credential(detail) => field("/credential", format!("not usable: {detail}")),
        HttpError::TooManyRequests => {
            Error::Internal("the gateway grants this plugin no request".to_owned())
        }
    }
}

fn field(pointer: &str, message: String) -> Error {
    Error::Misconfigured(vec![FieldError {
        pointer: pointer.to_owned(),
        message,
    }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        serde_json::from_value(json!({ "url": "https://x.test/", "ttl_ms": 5, "secret": true }))
            .unwrap()
    }

    fn answered(status: u16, body: &str) -> Result<Response, Error> {
        let received = IncomingResponse {
            status,
            headers: vec![("Retry-After".to_owned(), b"7".to_vec())],
            body: body.as_bytes().to_vec(),
        };
        respond(&settings(), Ok(received))
    }

    #[test]
    fn an_answer_is_handed_back_byte_for_byte() {
        for body in [r#"{ "a": 1 }"#, r##""#cloud-config\n""##, "null"] {
            let response = answered(200, body).unwrap();

            assert_eq!(response.body, body);
            assert!(response.secret);
            assert_eq!(response.cache.unwrap().ttl_ms, 5);
        }
    }

    #[test]
    fn an_empty_body_is_an_empty_object_as_it_is_to_nova() {
        for (status, body) in [(200, ""), (204, ""), (200, " \n")] {
            assert_eq!(answered(status, body).unwrap().body, "{}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_the_services_fault() {
        for body in ["<html>", "{", "{} {}"] {
            assert!(
                matches!(answered(200, body), Err(Error::Upstream(_))),
                "{body}"
            );
        }
        let received = IncomingResponse {
            status: 200,
            headers: Vec::new(),
            body: b"\"\xff\"".to_vec(),
        };
        assert!(matches!(
            respond(&settings(), Ok(received)),
            Err(Error::Upstream(_))
        ));
    }

    #[test]
    fn a_refusal_keeps_its_meaning_and_loses_its_words() {
        let error = |status| {
            let error = answered(status, "hunter2").unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"));
            error
        };

        assert!(matches!(error(302), Error::Misconfigured(_)));
        assert!(matches!(error(400), Error::InvalidRequest(_)));
        assert!(matches!(error(401), Error::Misconfigured(_)));
        assert!(matches!(error(403), Error::Forbidden(_)));
        assert!(matches!(error(404), Error::NotFound(_)));
        assert!(matches!(error(409), Error::Conflict(_)));
        assert_eq!(error(429), Error::Throttled(7_000));
        assert_eq!(error(503), Error::Unavailable(Some(7_000)));
        assert!(matches!(error(504), Error::UpstreamTimeout(_)));
        assert!(matches!(error(500), Error::Upstream(_)));
        assert!(matches!(error(418), Error::Upstream(_)));
    }

    #[test]
    fn what_was_not_sent_is_the_operators_or_the_services() {
        let error = |error| respond(&settings(), Err(error)).unwrap_err();

        assert!(matches!(
            error(HttpError::Timeout),
            Error::UpstreamTimeout(_)
        ));
        assert!(matches!(
            error(HttpError::Connect(String::new())),
            Error::Upstream(_)
        ));
        assert!(matches!(
            error(HttpError::Denied(String::new())),
            Error::Misconfigured(_)
        ));
        assert!(matches!(
            error(HttpError::Credential(String::new())),
            Error::Misconfigured(_)
        ));
    }
}
