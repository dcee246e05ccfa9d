//! Answers with all that it got: context, instance, raw request and configuration.
//!
//! The configuration may hold anything. `scope`, `ttl_ms` and `stale_if_error_ms` in it become the
//! cache hint of the answer; without `scope` there is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vendordock_plugin::{
    CacheHint, CacheScope, Error, Manifest, Plugin, Request, Response, config, export,
};

#[derive(Deserialize)]
struct Settings {
    scope: Option<Scope>,
    #[serde(default)]
    ttl_ms: u32,
    #[serde(default)]
    stale_if_error_ms: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    None,
    Instance,
    Project,
    Target,
}

#[derive(Serialize)]
struct Answer<'a> {
    context: Context<'a>,
    instance: Instance<'a>,
    raw: &'a RawValue,
    config: &'a RawValue,
}

#[derive(Serialize)]
struct Context<'a> {
    request_id: &'a str,
    target: &'a str,
    cloud: &'a str,
    budget_ms: u32,
    traceparent: Option<&'a str>,
}

#[derive(Serialize)]
struct Instance<'a> {
    id: &'a str,
    project_id: &'a str,
    hostname: Option<&'a str>,
    image_id: Option<&'a str>,
    user_data: Option<String>,
    metadata: BTreeMap<&'a str, &'a str>,
    boot_roles: &'a [String],
}

struct Echo;

impl Plugin for Echo {
    fn describe() -> Manifest {
        Manifest {
            name: "echo".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            config_schema: r#"{
                "type": "object",
                "properties": {
                    "scope": { "enum": ["none", "instance", "project", "target"] },
                    "ttl_ms": { "type": "integer", "minimum": 0 },
                    "stale_if_error_ms": { "type": "integer", "minimum": 0 }
                }
            }"#
            .to_owned(),
            idempotent: true,
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        let answer =
            answer(&request, &config::all()).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Response {
            body: answer,
            cache: cache_hint(&settings),
            ..Response::default()
        })
    }
}

fn answer(request: &Request, config: &str) -> serde_json::Result<String> {
    let Request {
        context,
        instance,
        raw,
    } = request;
    serde_json::to_string(&Answer {
        context: Context {
            request_id: &context.request_id,
            target: &context.target,
            cloud: &context.cloud,
            budget_ms: context.budget_ms,
            traceparent: context.traceparent.as_deref(),
        },
        instance: Instance {
            id: &instance.id,
            project_id: &instance.project_id,
            hostname: instance.hostname.as_deref(),
            image_id: instance.image_id.as_deref(),
            user_data: instance
                .user_data
                .as_deref()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            metadata: instance
                .metadata
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
            boot_roles: &instance.boot_roles,
        },
        raw: serde_json::from_str(raw)?,
        config: serde_json::from_str(config)?,
    })
}

fn cache_hint(settings: &Settings) -> Option<CacheHint> {
    let scope = match settings.scope? {
        Scope::None => CacheScope::None,
        Scope::Instance => CacheScope::Instance,
        Scope::Project => CacheScope::Project,
        Scope::Target => CacheScope::Target,
    };
    Some(CacheHint {
        scope,
        ttl_ms: settings.ttl_ms,
        stale_if_error_ms: settings.stale_if_error_ms,
    })
}

export!(Echo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_the_configured_one() {
        let hint = |config| cache_hint(&serde_json::from_str(config).unwrap());

        assert_eq!(hint("{}"), None);
        assert_eq!(
            hint(r#"{ "scope": "instance", "ttl_ms": 500 }"#),
            Some(CacheHint {
                scope: CacheScope::Instance,
                ttl_ms: 500,
                stale_if_error_ms: 0
            })
        );
    }
}
