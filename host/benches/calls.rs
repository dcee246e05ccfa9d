//! What one call costs inside the process: store, instantiation, call, drop.
//!
//! `calls DIRECTORY [NAME...]` takes the components from there. It prints one JSON object for `cargo xtask bench`:
//! microseconds for each call on one thread, and calls a second of 100 concurrent tasks on one and on two workers,
//! taken in turn. For each NAME, a component that does the work of `bench` in another language, it tells what that costs.

#[path = "imports/target.rs"]
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vendordock::config;
use vendordock::plugin::{Engine, Plugin};

use self::target::{median, microseconds};

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const CALLS: u32 = 4_000;
const TASKS: usize = 100;

fn main() {
    let Some(directory) = std::env::args()
        .nth(1)
        .filter(|path| Path::new(path).is_dir())
    else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let engine = Engine::new(&config::Engine::default()).expect("an engine");
    let names = std::env::args().skip(2);
    let others: Vec<_> = names
        .map(|name| other(&engine, &Path::new(&directory).join(name + ".wasm")))
        .collect();
    let component = Path::new(&directory).join("bench.wasm");
    let plugin = Arc::new(runtime(1).block_on(load(&engine, &component)));

    let (mut parse, mut call, mut one, mut two) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let thread = one_thread();
        let parsing = microseconds(CALLS, async || {
            std::hint::black_box(target::request());
        });
        parse.push(thread.block_on(parsing));
        let calling = microseconds(CALLS, async || provide(&plugin).await);
        call.push(thread.block_on(calling));
        one.push(calls_a_second(1, &plugin));
        two.push(calls_a_second(2, &plugin));
    }
    println!(
        "{}",
        serde_json::json!({
            "parse_us": median(parse),
            "call_us": median(call),
            "one_worker_calls_s": median(one),
            "two_workers_calls_s": median(two),
            "allocator": format!("{:?}", engine.allocator()),
            "others": others,
        })
    );
}

/// What a plugin in another language costs to load, nothing of it being compiled yet, and to call.
fn other(engine: &Engine, component: &Path) -> serde_json::Value {
    let threads = runtime(2);
    let (mut loading, mut call) = (vec![], vec![]);
    let mut plugin = None;
    for _ in 0..3 {
        let started = Instant::now();
        plugin = Some(threads.block_on(load(engine, component)));
        loading.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let plugin = Arc::new(plugin.expect("it was loaded three times"));
    for _ in 0..ROUNDS {
        let calling = microseconds(CALLS / 20, async || provide(&plugin).await);
        call.push(one_thread().block_on(calling));
    }
    serde_json::json!({
        "name": component.file_stem().expect("a file").to_string_lossy(),
        "bytes": std::fs::metadata(component).expect("it was read").len(),
        "load_ms": median(loading),
        "call_us": median(call),
        "two_workers_calls_s": calls_a_second(2, &plugin),
    })
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn load(engine: &Engine, component: &Path) -> Plugin {
    target::load(
        engine,
        None,
        &format!("targets.bench.component = {component:?}\n"),
    )
    .await
}

async fn provide(plugin: &Plugin) {
    assert!(target::provide(plugin).await > 900);
}

fn calls_a_second(workers: usize, plugin: &Arc<Plugin>) -> f64 {
    let runtime = runtime(workers);
    let time = Duration::from_millis(700);
    runtime.block_on(async {
        let started = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let plugin = plugin.clone();
                tokio::spawn(async move {
                    let mut calls = 0_u32;
                    while started.elapsed() < time {
                        provide(&plugin).await;
                        calls += 1;
                        tokio::task::yield_now().await;
                    }
                    calls
                })
            })
            .collect();
        let mut calls = 0;
        for task in tasks {
            calls += task.await.expect("a task that ends");
        }
        f64::from(calls) / started.elapsed().as_secs_f64()
    })
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("threads")
}
