//! `vendordock serve`.

mod assembly;

use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use self::assembly::Clouds;
use super::ConfigFile;
use crate::config::{Config, Document, Faults, Proof};
use crate::dispatch::{Gateway, Source};
use crate::server::listener::{self, Socket, Terms};
use crate::server::systemd::{self, HandedOver};
use crate::server::tls::Tls;
use crate::server::{self, Entrance};
use crate::state::Store;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;
use crate::{admin, telemetry};

/// Whoever runs the gateway must get in when nova has taken all of `[server] connections`.
const ADMIN_CONNECTIONS: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// Serve the targets of the configuration
///
/// All plugins are compiled before the port opens. One that cannot be loaded is reported, and the other targets
/// serve; /readyz tells. When it listens, each address stands on standard output in a line; the log is on standard
/// error. SIGTERM and Ctrl-C stop it: running requests may end first, unless it is told a second time.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, document) = Config::load(&self.config.path)?;
        let metrics = Metrics::default();
        let clouds = assembly::clouds(&config, &document, &metrics)?;
        let tls = tls(&config, &document)?;
        // While there is one thread.
        let handed_over = HandedOver::from_environment();
        let telemetry = Arc::new(telemetry::start(&config.log, config.traces.as_ref())?);
        let store = assembly::store(&config, &document)?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // Two at least: one of them may be taken by plugins that compute for long.
        let workers = config
            .server
            .workers
            .map_or(processors.max(2), NonZeroUsize::get);
        runtime.worker_threads(workers);
        let runtime = runtime
            .enable_all()
            .build()
            .context("cannot start worker threads")?;
        let parts = Parts {
            config,
            clouds,
            store: store.clone(),
            tls,
            handed_over,
            metrics,
            telemetry: telemetry.clone(),
        };
        let served = runtime.block_on(serve(parts));
        // A guest that computes past its deadline, or a thread that compiles, would hold up the exit.
        runtime.shutdown_background();
        if let Some(store) = store {
            store.close();
        }
        telemetry.shutdown();
        served?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the gateway's certificate: without it the configuration cannot be used.
fn tls(config: &Config, document: &Document) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some(tls) = &config.server.tls else {
        return Ok(None);
    };
    match Tls::new(tls) {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(errors) => {
            let path = document.path().to_owned();
            let faults = super::tls_faults(document, &errors);
            Err(Faults { path, faults }.into())
        }
    }
}

/// What was read and made before the first thread.
struct Parts {
    config: Config,
    clouds: Clouds,
    store: Option<Store>,
    tls: Option<Arc<Tls>>,
    handed_over: HandedOver,
    metrics: Metrics,
    telemetry: Arc<Telemetry>,
}

async fn serve(parts: Parts) -> anyhow::Result<()> {
    let Parts {
        config,
        clouds,
        store,
        tls,
        mut handed_over,
        mut metrics,
        telemetry,
    } = parts;
    // Before anything slow: a signal during start stops the start.
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut stop_signal = async || {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    let gateway = tokio::select! {
        gateway = assembly::gateway(&config, clouds, store.as_ref(), &mut metrics) => Arc::new(gateway?),
        () = stop_signal() => return Ok(()),
    };
    metrics.collect(telemetry.dropped_lines());
    let metrics = Arc::new(metrics);
    let entrances = entrances(&config, &gateway, &metrics, telemetry, &mut handed_over)?;
    for name in config.clouds.keys() {
        let (gateway, name) = (gateway.clone(), name.clone());
        tokio::spawn(async move {
            if let Some(cloud) = gateway.clouds.get(&name) {
                cloud.auth.keep_up().await;
            }
        });
    }
    for target in gateway.targets() {
        if let Source::Plugin(Ok(plugin)) = &target.source {
            let plugin = plugin.clone();
            tokio::spawn(async move { plugin.follow_secrets().await });
        }
    }
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.follow().await });
    }
    systemd::tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    let stopping = gateway.stopping.clone();
    server::serve(entrances, &config.server, tls, stopping, stop_signal).await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the sockets, and says where they are.
fn entrances(
    config: &Config,
    gateway: &Arc<Gateway>,
    metrics: &Arc<Metrics>,
    telemetry: Arc<Telemetry>,
    handed_over: &mut HandedOver,
) -> anyhow::Result<Vec<Entrance>> {
    let open = config.clouds.values().any(|cloud| {
        cloud.auth.require.has(Proof::None) && !cloud.auth.anyone_who_reaches_the_port_may_ask
    });
    let terms = Terms {
        table: "server",
        unix_mode: config.server.unix_mode,
        tls: config.server.tls.is_some(),
        local_only: open,
    };
    handed_over.reserve(&config.server.listen);
    if let Some(admin) = &config.admin {
        handed_over.reserve(&admin.listen);
    }
    let mut entrances = vec![Entrance {
        sockets: listener::bind(&config.server.listen, &terms, handed_over)?,
        router: server::router(gateway.clone()),
        connections: config.server.connections,
        metrics: Some(metrics.clone()),
    }];
    announce("listening", &entrances[0].sockets);
    if let Some(admin) = &config.admin {
        let terms = Terms {
            table: "admin",
            local_only: admin.tokens.is_empty(),
            ..terms
        };
        let sockets = listener::bind(&admin.listen, &terms, handed_over)?;
        announce("administration", &sockets);
        entrances.push(Entrance {
            sockets,
            router: admin::router(
                metrics.clone(),
                telemetry,
                admin.tokens.values(),
                server::readiness_route(gateway.clone()),
            ),
            connections: ADMIN_CONNECTIONS,
            metrics: None,
        });
    }
    Ok(entrances)
}

fn announce(what: &str, sockets: &[Socket]) {
    let mut stdout = std::io::stdout();
    for socket in sockets {
        tracing::info!("{what} on {socket}");
        // Whoever started us may not be reading.
        let _ = writeln!(stdout, "{what} on {socket}");
    }
    let _ = stdout.flush();
}
