//! Calls imports as often as its configuration says, one after the other. What a call costs more than one that calls none is
//! what the imports cost.

use std::collections::BTreeMap;

use serde::Deserialize;
use vendordock_plugin::http::{self, OutgoingRequest};
use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, config, export, state};

struct Imports;

/// How often each is called.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    url: String,
    http: u32,
    gets: u32,
    sets: u32,
}

impl Plugin for Imports {
    fn describe() -> Manifest {
        Manifest {
            name: "imports".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        for _time in 0..settings.http {
            let request = OutgoingRequest {
                url: settings.url.clone(),
                ..OutgoingRequest::default()
            };
            http::send(&request).map_err(|error| Error::Upstream(error.to_string()))?;
        }
        for _time in 0..settings.gets {
            state::get("key").map_err(|error| Error::Internal(error.to_string()))?;
        }
        for _time in 0..settings.sets {
            state::set("key", &[7; 100], None)
                .map_err(|error| Error::Internal(error.to_string()))?;
        }
        Response::json(&BTreeMap::<String, String>::new())
    }
}

export!(Imports);
