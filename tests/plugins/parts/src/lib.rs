//! Gives the body and the parts for cloud-init that it is configured with, or fails.
//!
//! With `run`, body and parts tell of the run: answers with the same number are from one.

use serde::Deserialize;
use vendordock_plugin::{
    CacheHint, CacheScope, Error, Manifest, Part, PartKind, Plugin, Request, Response, config,
    export, random,
};

#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    body: String,
    parts: Vec<Configured>,
    run: bool,
    secret: bool,
    ttl_ms: u32,
    fail: bool,
}

#[derive(Deserialize)]
struct Configured {
    name: String,
    kind: String,
    content: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body: "{}".to_owned(),
            parts: Vec::new(),
            run: false,
            secret: false,
            ttl_ms: 600_000,
            fail: false,
        }
    }
}

struct Parts;

impl Plugin for Parts {
    fn describe() -> Manifest {
        Manifest {
            name: "parts".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            config_schema: r#"{"type":"object"}"#.to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        if settings.fail {
            return Err(Error::Upstream("as configured".to_owned()));
        }
        let mut response = Response {
            body: settings.body,
            secret: settings.secret,
            cache: Some(CacheHint {
                scope: CacheScope::Instance,
                ttl_ms: settings.ttl_ms,
                stale_if_error_ms: 0,
            }),
            ..Response::default()
        };
        for part in settings.parts {
            response.parts.push(Part {
                name: part.name,
                kind: kind(&part.kind)?,
                content: part.content,
            });
        }
        if settings.run {
            let bytes = random::bytes(8);
            let number = bytes.iter().map(|byte| format!("{byte:02x}"));
            let number: String = number.collect();
            response.body = format!(r#"{{"run":"{number}"}}"#);
            response.parts.push(Part {
                name: "run".to_owned(),
                kind: PartKind::Script,
                content: format!("#!/bin/sh\n: run {number}\n"),
            });
        }
        Ok(response)
    }
}

fn kind(name: &str) -> Result<PartKind, Error> {
    match name {
        "cloud-config" => Ok(PartKind::CloudConfig),
        "cloud-config-jinja" => Ok(PartKind::CloudConfigJinja),
        "script" => Ok(PartKind::Script),
        "boothook" => Ok(PartKind::Boothook),
        "include-urls" => Ok(PartKind::IncludeUrls),
        "include-urls-once" => Ok(PartKind::IncludeUrlsOnce),
        _ => Err(Error::Internal(format!("there is no kind {name}"))),
    }
}

export!(Parts);
