//! A loaded plugin, and one call of it.
//!
//! A call runs in a store of its own, with the target's limits, and the store is dropped when it ends, however it
//! ends. The deadline stands in three places, since none of them sees everything: a timeout around the call, for
//! when it waits; a look at the clock after each tick of the engine, for when the guest computes; and every import
//! that waits is given what is left.

mod answer;
mod bindings;
mod call;
mod cpu_time;
pub mod engine;
mod grants;
mod host;
mod load;
mod pool;
mod refusal;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};
use wasmtime::component::Component;

pub use self::answer::Error as AnswerError;
pub use self::bindings::exports::vendordock::vendordata::plugin::Manifest;
use self::bindings::vendordock::vendordata::types as wit;
pub use self::bindings::vendordock::vendordata::types::{CacheHint, CacheScope, FieldError};
use self::bindings::{VendordataProvider, VendordataProviderPre};
use self::call::{Call, OutOfTime, Phase};
use self::cpu_time::CpuTime;
pub use self::engine::Engine;
pub use self::grants::Grants;
use self::load::Load;
pub use self::pool::Pool;
pub use self::refusal::Refusal;
use crate::request::Request;
use crate::telemetry::metrics::PluginRun;
use crate::telemetry::{trace_context, traces};

/// How long `describe` and `validate` may take together.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// A plugin with the grants of one target.
pub struct Plugin {
    engine: Engine,
    pre: VendordataProviderPre<Call>,
    grants: Arc<Grants>,
    manifest: Manifest,
    load: Load,
}

/// What a plugin answers for one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A JSON object, as the plugin wrote it.
    pub body: Bytes,
    /// How long it may be used again; zero: not at all.
    pub ttl: Duration,
    /// Whether nobody but its instance may know what it holds.
    pub secret: bool,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugin says why. The text is its own.
    #[error("the plugin answered: {0:?}")]
    Answered(Refusal),
    /// The call was still running.
    #[error("the plugin was still running at its deadline")]
    Deadline,
    /// As many calls run as the target or the engine allows, and none ended in time.
    #[error("no place among the running calls became free in time")]
    Busy,
    /// As many calls wait for such a place as the target allows.
    #[error("as many calls run and wait as the target allows")]
    Overloaded,
    /// A panic, an uncaught exception, a limit: the guest is gone.
    #[error("the plugin trapped")]
    Trap(#[source] wasmtime::Error),
    /// What it answered cannot be handed on.
    #[error("the plugin's answer is not handed on")]
    Answer(#[source] AnswerError),
}

/// Why a component cannot be used as a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It wants what we do not have, or lacks what we need.
    #[error("it does not fit the world vendordata-provider of vendordock:vendordata@0.1")]
    World(#[source] wasmtime::Error),
    /// `describe` failed.
    #[error("its `describe` failed")]
    Describe(#[source] wasmtime::Error),
    /// `validate` failed, which is not the same as finding faults.
    #[error("its `validate` failed")]
    Validate(#[source] wasmtime::Error),
    /// The manifest's schema is no JSON Schema.
    #[error("its manifest's config-schema is no JSON Schema: {0}")]
    Schema(String),
    /// The target's configuration does not fit.
    #[error("{}", faults(.0))]
    Config(Vec<ConfigFault>),
}

/// One fault in a target's `config` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// JSON Pointer into the table; empty for the whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

fn faults(faults: &[ConfigFault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| {
            let key = fault.pointer.replace('/', ".");
            format!("config{key}: {}", fault.message)
        })
        .collect();
    lines.join("; ")
}

impl Plugin {
    /// Checks a component against the world, its own manifest and the target's configuration.
    ///
    /// # Errors
    ///
    /// The first step that fails; for the configuration, all its faults.
    pub async fn load(
        engine: &Engine,
        component: &Component,
        grants: Grants,
    ) -> Result<Self, LoadError> {
        let pre = engine
            .linker
            .instantiate_pre(component)
            .and_then(VendordataProviderPre::new)
            .map_err(LoadError::World)?;
        // Otherwise the first request would build it.
        component
            .initialize_copy_on_write_image()
            .map_err(LoadError::World)?;
        let grants = Arc::new(grants);
        let deadline = Instant::now() + LOAD_TIME;
        let manifest = in_new_store(
            engine,
            &pre,
            &grants,
            Phase::Describe,
            deadline,
            async |store, provider| {
                provider
                    .vendordock_vendordata_plugin()
                    .call_describe(store)
                    .await
            },
        )
        .await
        .map_err(LoadError::Describe)?;
        let faults = schema_faults(&manifest.config_schema, &grants.config)?;
        if !faults.is_empty() {
            return Err(LoadError::Config(faults));
        }
        let faults = in_new_store(
            engine,
            &pre,
            &grants,
            Phase::Validate,
            deadline,
            async |store, provider| {
                provider
                    .vendordock_vendordata_plugin()
                    .call_validate(store)
                    .await
            },
        )
        .await
        .map_err(LoadError::Validate)?;
        if !faults.is_empty() {
            let faults = faults.into_iter().map(|fault| ConfigFault {
                pointer: fault.pointer,
                message: fault.message,
            });
            return Err(LoadError::Config(faults.collect()));
        }
        Ok(Self {
            engine: engine.clone(),
            pre,
            load: Load::new(grants.concurrent_calls, grants.waiting_calls),
            grants,
            manifest,
        })
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the target grants user data.
    pub fn sees_user_data(&self) -> bool {
        self.grants.user_data
    }

    /// Answers one request in a fresh store. `traceparent` is the caller's, for the plugin and its upstreams.
    ///
    /// # Errors
    ///
    /// Whatever keeps the plugin from answering before `deadline`.
    pub async fn provide(
        &self,
        request: Request,
        request_id: Arc<str>,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let metrics = &self.grants.metrics;
        let waiting = metrics.waiting();
        let entered = self.load.enter(&self.engine.permits, deadline).await;
        let _place = entered.inspect_err(|_refused| metrics.refused_for_load())?;
        drop(waiting);
        let _running = metrics.running();
        let span = self.span();
        let traceparent = trace_context::outgoing(&span).or(traceparent);
        let started = Instant::now();
        let mut store = Call::store(
            &self.engine.engine,
            self.grants.clone(),
            Phase::Provide,
            traceparent.clone(),
            deadline,
        );
        let request = wit::Request {
            context: wit::CallContext {
                request_id: request_id.as_ref().to_owned(),
                target: self.grants.target.to_string(),
                cloud: self.grants.cloud.to_string(),
                budget_ms: milliseconds(deadline.saturating_duration_since(started)),
                traceparent: traceparent.as_deref().map(str::to_owned),
            },
            instance: wit::Instance {
                id: request.instance_id,
                project_id: request.project_id,
                hostname: request.hostname,
                image_id: request.image_id,
                user_data: request.user_data,
                metadata: request.metadata.into_iter().collect(),
                boot_roles: request.boot_roles,
            },
            raw: request.raw,
        };
        let (outcome, cpu) = {
            // Pinned where it is: it is several kilobytes, and each layer around it would move it once.
            let call = pin!(async {
                let provider = self.pre.instantiate_async(&mut store).await?;
                provider
                    .vendordock_vendordata_provider()
                    .call_provide(&mut store, &request)
                    .await
            });
            let mut call = CpuTime::of(call.instrument(span.clone()));
            let outcome = tokio::time::timeout_at(deadline, &mut call).await;
            (outcome, call.spent())
        };
        metrics.ran(PluginRun {
            wall: started.elapsed(),
            cpu,
            memory_bytes: store.data().memory_bytes(),
        });
        store.data().report_dropped_lines();
        let response = match outcome {
            Err(_elapsed) => Err(Error::Deadline),
            Ok(Err(error)) if error.is::<OutOfTime>() => Err(Error::Deadline),
            Ok(Err(error)) => Err(Error::Trap(error)),
            Ok(Ok(Err(refusal))) => Err(Error::Answered(refusal.into())),
            Ok(Ok(Ok(response))) => Ok(response),
        };
        self.count(&span, response.as_ref().err());
        let response = response?;
        answer::check(&response.body, self.grants.response_bytes).map_err(Error::Answer)?;
        let hint = response.cache.unwrap_or(self.manifest.cache);
        Ok(Answer {
            secret: response.secret,
            body: response.body.into(),
            ttl: match hint.scope {
                CacheScope::None => Duration::ZERO,
                // The wider scopes are a permission, not a duty: each instance gets an entry of its own.
                CacheScope::Instance | CacheScope::Project | CacheScope::Target => {
                    Duration::from_millis(hint.ttl_ms.into())
                }
            },
        })
    }

    /// The span of one run. No data of the instance is in it.
    fn span(&self) -> Span {
        tracing::info_span!(
            target: traces::SPANS,
            "plugin",
            vendordata.target = %self.grants.target,
            plugin = self.manifest.name,
            outcome = field::Empty,
            otel.status_code = field::Empty,
        )
    }

    /// Says how a run ended, in numbers and in its span.
    fn count(&self, span: &Span, error: Option<&Error>) {
        let outcome = match error {
            None => "answered",
            Some(Error::Deadline) => {
                self.grants.metrics.timed_out();
                "timeout"
            }
            Some(Error::Trap(_)) => {
                self.grants.metrics.trapped();
                "trap"
            }
            Some(_) => "refused",
        };
        span.record("outcome", outcome);
        if error.is_some() {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// Runs one of the exports that are called at load.
async fn in_new_store<T>(
    engine: &Engine,
    pre: &VendordataProviderPre<Call>,
    grants: &Arc<Grants>,
    phase: Phase,
    deadline: Instant,
    run: impl AsyncFnOnce(&mut wasmtime::Store<Call>, &VendordataProvider) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let mut store = Call::store(&engine.engine, grants.clone(), phase, None, deadline);
    let call = async {
        let provider = pre.instantiate_async(&mut store).await?;
        run(&mut store, &provider).await
    };
    match tokio::time::timeout_at(deadline, call).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(OutOfTime.into()),
    }
}

fn schema_faults(schema: &str, config: &serde_json::Value) -> Result<Vec<ConfigFault>, LoadError> {
    let mut schema: serde_json::Value =
        serde_json::from_str(schema).map_err(|error| LoadError::Schema(error.to_string()))?;
    // jsonschema names the key that is too many only where the schema has `properties`.
    if let Some(schema) = schema.as_object_mut()
        && schema.get("additionalProperties") == Some(&false.into())
    {
        schema
            .entry("properties")
            .or_insert_with(|| serde_json::json!({}));
    }
    let validator =
        jsonschema::validator_for(&schema).map_err(|error| LoadError::Schema(error.to_string()))?;
    let faults = validator.iter_errors(config).map(|error| ConfigFault {
        pointer: error.instance_path().to_string(),
        message: error.to_string(),
    });
    Ok(faults.collect())
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
