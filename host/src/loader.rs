//! From a file to a plugin that serves.
//!
//! A fault stays with its target: the others serve, and readiness says which does not and why.

pub(crate) mod compiler;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Component;

pub use self::compiler::Compiler;
use self::compiler::Failure;

use crate::config::{CloudName, Target, TargetName};
use crate::egress;
use crate::error::chain;
use crate::openstack::LookUps;
use crate::plugin::{Engine, Grants, LoadError, Plugin};
use crate::state::Store;
use crate::telemetry::metrics::TargetMetrics;

/// The version of `wit/` that this gateway speaks, and the interface that every plugin exports.
const WIT_PACKAGE: &str = "vendordock:vendordata/";
const WIT_VERSION: &str = "0.1";

/// Why a target has no plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not ours to read.
    #[error("component {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// No component is that large.
    #[error("component {path} is larger than {limit} bytes (component_bytes)")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it may have.
        limit: u64,
    },
    /// Compiled code would run without any check of what it does.
    #[error("component {path} is precompiled; only WebAssembly components are loaded")]
    Precompiled {
        /// The file.
        path: PathBuf,
    },
    /// A module is half of a component.
    #[error(
        "component {path} is a core module; make it a component with `wasm-tools component new`, or build it with `cargo xtask plugins`"
    )]
    CoreModule {
        /// The file.
        path: PathBuf,
    },
    /// Something else.
    #[error("component {path} is not WebAssembly")]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// WebAssembly, and broken.
    #[error("component {path} does not compile: {reason}")]
    Compile {
        /// The file.
        path: PathBuf,
        /// What wasmtime says.
        reason: String,
    },
    /// Perhaps it was made to.
    #[error("component {path} takes longer than {limit_ms} ms to compile (compile_timeout_ms)")]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// How long it may take.
        limit_ms: u128,
    },
    /// The fault may be the component's, and may be this machine's.
    #[error("compiling component {path} failed: {reason}")]
    Compiler {
        /// The file.
        path: PathBuf,
        /// What is known of it.
        reason: String,
    },
    /// A plugin for another gateway.
    #[error(
        "component {path} speaks vendordock:vendordata {found}, and this gateway {WIT_VERSION}.x; rebuild it with an SDK of that line"
    )]
    WitVersion {
        /// The file.
        path: PathBuf,
        /// The version it speaks.
        found: String,
    },
    /// A component, and not a plugin.
    #[error("component {path} does not export {WIT_PACKAGE}provider, so it is no plugin")]
    NotAPlugin {
        /// The file.
        path: PathBuf,
    },
    /// The target's secrets or certificates cannot be had.
    #[error(transparent)]
    Grants(#[from] egress::Error),
    /// The plugin refused, or was refused.
    #[error("component {path}")]
    Plugin {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
}

/// Makes the plugin of one target ready, for each of the target's clouds; of a composed target there is none. It is compiled
/// once; what it is granted, its sessions, connections and state (in `store`) are each cloud's own. What it does there is
/// counted in `metrics` of that cloud, and what it looks up there goes to `look_ups`.
///
/// # Errors
///
/// For each cloud, the first step that fails.
pub async fn load(
    engine: &Engine,
    compiler: &Compiler,
    name: &TargetName,
    target: &Target,
    store: Option<&Store>,
    metrics: impl Fn(&CloudName) -> Arc<TargetMetrics>,
    look_ups: impl Fn(&CloudName) -> Option<Arc<LookUps>>,
) -> Vec<(CloudName, Result<Plugin, Arc<Error>>)> {
    let Some(path) = &target.component else {
        return Vec::new();
    };
    let component = component(engine, compiler, path).await.map_err(Arc::new);
    let mut plugins = Vec::new();
    for cloud in target.clouds.iter().flatten() {
        let plugin = match &component {
            Ok(component) => {
                let grants =
                    Grants::new(cloud, name, target, store, metrics(cloud), look_ups(cloud));
                for_cloud(engine, path, component, grants)
                    .await
                    .map_err(Arc::new)
            }
            Err(error) => Err(error.clone()),
        };
        plugins.push((cloud.clone(), plugin));
    }
    plugins
}

async fn component(engine: &Engine, compiler: &Compiler, path: &Path) -> Result<Component, Error> {
    let bytes = read(path, compiler.most_bytes)?;
    let component = compiler
        .compile(engine.wasmtime(), bytes)
        .await
        .map_err(|failure| {
            let path = path.to_owned();
            match failure {
                Failure::TooSlow => Error::TooSlow {
                    path,
                    limit_ms: compiler.time.as_millis(),
                },
                Failure::Refused(reason) => Error::Compile { path, reason },
                other => Error::Compiler {
                    path,
                    reason: chain(&other),
                },
            }
        })?;
    check_version(engine.wasmtime(), &component, || path.to_owned())?;
    Ok(component)
}

async fn for_cloud(
    engine: &Engine,
    path: &Path,
    component: &Component,
    grants: Result<Grants, egress::Error>,
) -> Result<Plugin, Error> {
    Plugin::load(engine, component, grants?)
        .await
        .map_err(|source| Error::Plugin {
            path: path.to_owned(),
            source,
        })
}

/// Reads the file, if it can be a component at all.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let path = || path.to_owned();
    let mut bytes = Vec::new();
    let file = File::open(path()).map_err(unreadable)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            path: path(),
            limit,
        });
    }
    if wasmtime::Engine::detect_precompiled(&bytes).is_some() {
        return Err(Error::Precompiled { path: path() });
    }
    // The word after the magic number is a version; its upper half tells components (1) from modules (0).
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(bytes),
        Some([0, b'a', b's', b'm', ..]) => Err(Error::CoreModule { path: path() }),
        _ => Err(Error::NotWasm { path: path() }),
    }
}

/// Finds a foreign version by name. Without this the linker would complain about a missing interface, and the
/// operator would search for it.
fn check_version(
    engine: &wasmtime::Engine,
    component: &Component,
    path: impl Fn() -> PathBuf,
) -> Result<(), Error> {
    let kind = component.component_type();
    let imports = kind.imports(engine).map(|(name, _)| name.to_owned());
    let exports: Vec<String> = kind
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut provides = false;
    for name in imports.chain(exports.iter().cloned()) {
        let Some(interface) = name.strip_prefix(WIT_PACKAGE) else {
            continue;
        };
        let (interface, version) = interface.split_once('@').unwrap_or((interface, ""));
        let ours = version
            .strip_prefix(WIT_VERSION)
            .is_some_and(|patch| patch.starts_with('.'));
        if !ours {
            let found = version.to_owned();
            return Err(Error::WitVersion {
                path: path(),
                found,
            });
        }
        provides |= interface == "provider" && exports.contains(&name);
    }
    if provides {
        Ok(())
    } else {
        Err(Error::NotAPlugin { path: path() })
    }
}
