//! Does what a small real plugin does, and no import waits: the call that is measured.
//!
//! What it does is in `work.rs`.

mod work;

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, config, export};

struct Bench;

impl Plugin for Bench {
    fn describe() -> Manifest {
        Manifest {
            name: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            config_schema: r#"{
                "type": "object",
                "properties": {
                    "domain": { "type": "string" },
                    "body_bytes": { "type": "integer", "minimum": 0 }
                },
                "additionalProperties": false
            }"#
            .to_owned(),
            idempotent: true,
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings = config::read()?;
        let sent = serde_json::from_str(&request.raw)
            .map_err(|error| Error::Internal(error.to_string()))?;
        Response::json(&work::answer(&settings, sent))
    }
}

export!(Bench);
