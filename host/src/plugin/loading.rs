//! From a component to a plugin: does it fit the world, what does it say of itself, does the configuration suit it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::Component;

use super::bindings::{VendordataProvider, VendordataProviderPre};
use super::breaker::Breaker;
use super::call::{Call, Phase};
use super::load::Load;
use super::{Engine, Error, Grants, Plugin, crash};

/// How long `describe` and `validate` may take together.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// Why a component cannot be used as a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It wants what we do not have, or lacks what we need.
    #[error("it does not fit the world vendordata-provider of vendordock:vendordata@0.1")]
    World(#[source] wasmtime::Error),
    /// `describe` failed.
    #[error("its `describe` failed")]
    Describe(#[source] Error),
    /// `validate` failed, which is not the same as finding faults.
    #[error("its `validate` failed")]
    Validate(#[source] Error),
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
            breaker: Breaker::new(grants.breaker, grants.metrics.clone()),
            computes_for_long: AtomicBool::new(false),
            grants,
            manifest,
        })
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
) -> Result<T, Error> {
    let mut store = Call::store(&engine.engine, grants.clone(), phase, None, deadline);
    let mut began = false;
    let call = async {
        let provider = pre.instantiate_async(&mut store).await?;
        began = true;
        run(&mut store, &provider).await
    };
    match tokio::time::timeout_at(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(crash::end(&error, began, store.data(), None)),
        Err(_elapsed) => Err(Error::Deadline),
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
