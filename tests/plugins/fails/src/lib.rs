//! Fails with the error named in the metadata key `error`, by its name in the WIT package. The text,
//! or the milliseconds to wait, are in `with`.

use vendordock_plugin::{Error, FieldError, Manifest, Plugin, Request, Response, export};

struct Fails;

impl Plugin for Fails {
    fn describe() -> Manifest {
        Manifest {
            name: "fails".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let instance = request.instance;
        match instance.metadata_value("error") {
            Some(name) => Err(error(name, instance.metadata_value("with"))),
            None => Ok(Response::default()),
        }
    }
}

fn error(name: &str, with: Option<&str>) -> Error {
    let text = with.unwrap_or("as told").to_owned();
    let wait_ms = with.and_then(|with| with.parse().ok());
    let fault = |pointer: &str| {
        vec![FieldError {
            pointer: pointer.to_owned(),
            message: text.clone(),
        }]
    };
    match name {
        "invalid-request" => Error::InvalidRequest(fault("/metadata/error")),
        "forbidden" => Error::Forbidden(text),
        "not-found" => Error::NotFound(text),
        "conflict" => Error::Conflict(text),
        "throttled" => Error::Throttled(wait_ms.unwrap_or(1000)),
        "misconfigured" => Error::Misconfigured(fault("/error")),
        "internal" => Error::Internal(text),
        "upstream" => Error::Upstream(text),
        "unavailable" => Error::Unavailable(wait_ms),
        "upstream-timeout" => Error::UpstreamTimeout(text),
        _ => Error::Internal(format!("there is no error {name}")),
    }
}

export!(Fails);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_wait_is_a_number() {
        assert_eq!(error("throttled", Some("250")), Error::Throttled(250));
        assert_eq!(error("unavailable", None), Error::Unavailable(None));
    }
}
