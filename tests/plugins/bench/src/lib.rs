//! Does what a small real plugin does, and no import waits: the call that is measured.
//!
//! What it does is in `work.rs`.

mod work;

use vendordock_plugin::{
    CacheHint, CacheScope, Error, Manifest, Plugin, Request, Response, config, export,
};

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
                    "body_bytes": { "type": "integer", "minimum": 0 },
                    "ttl_ms": { "type": "integer", "minimum": 0 }
                },
                "additionalProperties": false
            }"#
            .to_owned(),
            idempotent: true,
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings: work::Settings = config::read()?;
        let sent = serde_json::from_str(&request.raw)
            .map_err(|error| Error::Internal(error.to_string()))?;
        let scope = match settings.ttl_ms {
            0 => CacheScope::None,
            _ => CacheScope::Instance,
        };
        Ok(Response {
            cache: Some(CacheHint {
                scope,
                ttl_ms: settings.ttl_ms,
                stale_if_error_ms: 0,
            }),
            ..Response::json(&work::answer(&settings, sent))?
        })
    }
}

export!(Bench);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::work::{Settings, answer};

    #[test]
    fn an_answer_is_about_as_long_as_was_asked_for() {
        let settings: Settings = serde_json::from_str("{}").unwrap();
        let sent = serde_json::from_str(
            r#"{
                "instance-id": "a2f1b6a4-6b0e-4f0c-9a49-0d5a2f7b0e11",
                "project-id": "7d1c5a2f6b0e4f0c9a490d5a2f7b0e11",
                "hostname": "db-1",
                "metadata": { "label.role": "db", "secret": "no label" }
            }"#,
        )
        .unwrap();

        let answer = answer(&settings, sent);

        assert_eq!(answer.fqdn, "db-1.cloud.example.test");
        assert_eq!(
            answer.labels,
            BTreeMap::from([("label.role".to_owned(), "db".to_owned())])
        );
        let body_bytes = serde_json::to_string(&answer).unwrap().len();
        assert!((950..1100).contains(&body_bytes), "{body_bytes}");
    }
}
