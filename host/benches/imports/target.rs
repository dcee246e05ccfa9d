//! A plugin, loaded as the gateway loads it, and calls of it.

use std::time::{Duration, Instant};

use vendordock::config::Config;
use vendordock::loader::{self, Compiler};
use vendordock::plugin::{Engine, Plugin};
use vendordock::request::Request;
use vendordock::state::Store;
use vendordock::telemetry::metrics::TargetMetrics;

/// Loads the one target of this configuration.
pub(crate) async fn load(engine: &Engine, store: Option<&Store>, configuration: &str) -> Plugin {
    let scratch = tempfile::tempdir().expect("a directory");
    let file = scratch.path().join("bench.toml");
    std::fs::write(&file, format!("auth.require = \"none\"\n{configuration}")).expect("a file");
    let (config, _) = Config::load(&file).expect("a configuration");
    let (name, target) = config.targets.iter().next().expect("one target");
    let program = env!("CARGO_BIN_EXE_vendordock").into();
    let compiler = Compiler::new(&config.engine, program);
    let mut plugins = loader::load(
        engine,
        &compiler,
        name,
        target,
        store,
        |_cloud| TargetMetrics::unregistered(),
        |_cloud| None,
    )
    .await;
    let (_, plugin) = plugins.pop().expect("one cloud");
    plugin.expect("a plugin")
}

/// nova's request.
pub(crate) fn request() -> Request {
    static BODY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let body = BODY.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/request.json");
        std::fs::read(path).expect("the request")
    });
    Request::read(body, false).expect("a request")
}

/// One call, to its answer.
pub(crate) async fn provide(plugin: &Plugin) -> usize {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let answer = plugin
        .provide(request(), "req-bench".into(), None, deadline)
        .await;
    answer.expect("an answer").body.len()
}

/// Microseconds for each, after a tenth of them to warm up.
pub(crate) async fn microseconds(calls: u32, mut work: impl AsyncFnMut()) -> f64 {
    for _ in 0..calls / 10 {
        work().await;
    }
    let started = Instant::now();
    for _ in 0..calls {
        work().await;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
