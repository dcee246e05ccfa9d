//! Looks up what the instance's metadata says, and reports what came of it.
//!
//! | key | |
//! | --- | --- |
//! | `kind` | `project`, `domain`, `image`, `server`, `ports` or `keypair`; without it, nothing is looked up |
//! | `id` | of what; for a key pair, its name |
//! | `user_id` | whose key pair |
//! | `times` | how often, one after the other; once, unless given. The last answer counts |
//!
//! The answer is `{"found"}` with what the gateway answered, or `{"error"}` with the error as Rust prints it.

use serde_json::{Value, json};
use vendordock_plugin::openstack::{self, LookupError};
use vendordock_plugin::{Error, FieldError, Instance, Manifest, Plugin, Request, Response, export};

struct Lookup;

impl Plugin for Lookup {
    fn describe() -> Manifest {
        Manifest {
            name: "lookup".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let instance = request.instance;
        let Some(kind) = instance.metadata_value("kind") else {
            return Ok(Response::default());
        };
        let times = instance.metadata_value("times").unwrap_or("1");
        let times: u32 = times.parse().map_err(|_| wrong("times"))?;
        let mut answer = json!({});
        for _ in 0..times {
            answer = report(look_up(kind, &instance)?);
        }
        Response::json(&answer)
    }
}

fn look_up(kind: &str, instance: &Instance) -> Result<Result<String, LookupError>, Error> {
    let id = instance.metadata_value("id").unwrap_or_default();
    Ok(match kind {
        "project" => openstack::project(id),
        "domain" => openstack::domain(id),
        "image" => openstack::image(id),
        "server" => openstack::server(id),
        "ports" => openstack::ports(id),
        "keypair" => {
            let user_id = instance.metadata_value("user_id").unwrap_or_default();
            openstack::keypair(user_id, id)
        }
        _ => return Err(wrong("kind")),
    })
}

fn wrong(key: &str) -> Error {
    Error::InvalidRequest(vec![FieldError {
        pointer: format!("/metadata/{key}"),
        message: "not understood".to_owned(),
    }])
}

fn report(answer: Result<String, LookupError>) -> Value {
    match answer {
        Ok(text) => match serde_json::from_str::<Value>(&text) {
            Ok(found) => json!({ "found": found }),
            Err(error) => json!({ "error": format!("no JSON: {error}") }),
        },
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}

export!(Lookup);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_reported_as_it_is() {
        assert_eq!(report(Ok("[1]".to_owned())), json!({"found": [1]}));
        assert_eq!(
            report(Err(LookupError::Unavailable("why".to_owned()))),
            json!({"error": "LookupError::Unavailable(\"why\")"})
        );
    }
}
