//! `vendordock serve`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::ConfigFile;
use crate::auth::{Auth, Keystone};
use crate::cache::Answers;
use crate::config::{AuthMethod, Config, Document, Faults};
use crate::dispatch::{Gateway, Target};
use crate::error::chain;
use crate::plugin::Engine;
use crate::plugin::engine::Allocator;
use crate::{loader, server, telemetry};

/// Serve the targets of the configuration
///
/// All plugins are compiled before the port opens. One that cannot be loaded is reported, and the other targets
/// serve; /readyz tells. When it listens, the address stands on standard output in one line; the log is on standard
/// error. SIGTERM and Ctrl-C stop it: running requests may end first.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, document) = Config::load(&self.config.path)?;
        let auth = auth(&config, &document)?;
        telemetry::start(&config.log);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(workers) = config.server.workers {
            runtime.worker_threads(workers.get());
        }
        let runtime = runtime
            .enable_all()
            .build()
            .context("cannot start worker threads")?;
        runtime.block_on(serve(config, auth))?;
        // A guest that computes past its deadline, or a thread that compiles, would hold up the exit.
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the account's secrets: without them the configuration cannot be used.
fn auth(config: &Config, document: &Document) -> anyhow::Result<Auth> {
    let (AuthMethod::Keystone, Some(keystone)) = (config.auth.method, &config.keystone) else {
        return Ok(Auth::None);
    };
    let faults = super::keystone_faults(document, keystone);
    if !faults.is_empty() {
        let path = document.path().to_owned();
        return Err(Faults { path, faults }.into());
    }
    let keystone = Keystone::new(keystone, config.cache.tokens).context("[keystone]")?;
    Ok(Auth::Keystone(Arc::new(keystone)))
}

async fn serve(config: Config, auth: Auth) -> anyhow::Result<()> {
    // Before anything slow: a signal during start stops the start.
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(stop);
    let gateway = tokio::select! {
        gateway = start(&config, auth) => gateway?,
        () = &mut stop => return Ok(()),
    };
    let address = config.server.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ([server] listen)"))?;
    let address = listener.local_addr().context("cannot tell the address")?;
    tracing::info!(%address, "listening");
    let mut stdout = std::io::stdout();
    // Whoever started us may not be reading.
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
    let patience = Duration::from_millis(config.server.shutdown_timeout_ms.into());
    // The signals are waited for in a task of their own, since the server wants a future that is its own.
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server::serve(
        Arc::new(gateway),
        listener,
        async {
            // An error means that the sender is gone, and so are we.
            let _ = stopped.await;
        },
        patience,
    );
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.context("the listener failed"),
        () = &mut stop => {}
    }
    drop(stopping);
    serving.await.context("the listener failed")?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes everything ready that serving needs.
async fn start(config: &Config, auth: Auth) -> anyhow::Result<Gateway> {
    let engine = Engine::new(&config.engine).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    match engine.allocator() {
        Allocator::Pooling => tracing::info!("memory for plugin calls comes from a pool"),
        Allocator::OnDemand { reason } => tracing::warn!(
            reason,
            "memory for plugin calls is allocated on demand: each call costs several times more"
        ),
    }
    if matches!(auth, Auth::None) {
        tracing::warn!(
            "serving without authentication: whoever reaches the port may ask for any instance"
        );
    }
    let mut targets = std::collections::HashMap::new();
    for (generation, (name, target)) in (1..).zip(&config.targets) {
        for warning in target.warnings() {
            tracing::warn!(vendordata.target = %name, "{warning}");
        }
        let started = std::time::Instant::now();
        let plugin = loader::load(&engine, name, target).await;
        match &plugin {
            Ok(plugin) => tracing::info!(
                vendordata.target = %name,
                plugin = plugin.manifest().name,
                version = plugin.manifest().version,
                time_ms = started.elapsed().as_secs_f64() * 1_000.0,
                "loaded"
            ),
            Err(error) => tracing::error!(
                vendordata.target = %name,
                "not serving this target: {}",
                chain(error)
            ),
        }
        let target = Target {
            name: name.clone(),
            generation,
            timeout: Duration::from_millis(target.timeout_ms.get().into()),
            cache_max_ttl: Duration::from_millis(target.cache_max_ttl_ms.into()),
            plugin: plugin.map(Arc::new),
        };
        targets.insert(name.clone(), Arc::new(target));
    }
    Ok(Gateway {
        auth,
        targets,
        answers: Answers::new(&config.cache),
        body_limit_bytes: config.server.body_limit_bytes,
    })
}
