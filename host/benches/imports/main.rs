//! What a plugin's imports cost over doing the same natively, what a call that waits costs in memory, how calls do when many
//! run, and what each limit costs. `imports COMPONENT BENCH` prints one JSON object for `cargo xtask bench`.

mod limits;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use tokio::sync::watch;
use vendordock::config::{self, CloudName, TargetName};
use vendordock::plugin::{Engine, Plugin};
use vendordock::state::{Owner, Store};

use self::target::{load, median, microseconds, provide};

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
/// Imports in one call: the call itself is taken off by one that calls none.
const IMPORTS: u32 = 20;
const LIVE: [usize; 2] = [64, 256];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(component), Some(bench)) = (arguments.next(), arguments.next()) else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let figures = runtime.block_on(measure(&component, &bench));
    println!("{figures}");
}

async fn measure(component: &str, bench: &str) -> serde_json::Value {
    let (release, held) = watch::channel(false);
    let address = upstream(held).await;
    let engine_config = config::Engine {
        concurrent_calls: 300.try_into().expect("not zero"),
        ..config::Engine::default()
    };
    let engine = Engine::new(&engine_config).expect("an engine");
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::open(&config::State {
        path: scratch.path().join("state.redb"),
        ..config::State::default()
    });
    let store = store.expect("a store");
    let base = format!(
        "targets.t.component = {component:?}\ntargets.t.state = {{}}\ntargets.t.concurrent_calls = 300\ntargets.t.timeout_ms = 20000\n\
         targets.t.egress = [{{ to = \"http://{address}\", networks = [\"127.0.0.0/8\"] }}]\n"
    );
    let loaded = async |settings: String| {
        let text = format!("{base}targets.t.config = {{ {settings} }}\n");
        load(&engine, Some(&store), &text).await
    };
    let none = loaded(String::new()).await;
    let http = loaded(format!("http = {IMPORTS}, url = \"http://{address}/\"")).await;
    let gets = loaded(format!("gets = {IMPORTS}")).await;
    let sets = loaded(format!("sets = {IMPORTS}")).await;

    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let owner = Owner::Target(
        CloudName::unnamed(),
        TargetName::try_from("native".to_owned()).expect("a name"),
    );
    let space = store.space(owner, config::StateQuota::default().into());
    let soon = || tokio::time::Instant::now() + Duration::from_secs(5);
    let set = async || {
        let set = space.set("key", None, vec![7; 100], None, soon());
        set.await.expect("it is written");
    };
    set().await;

    let mut rounds: Vec<[f64; 6]> = Vec::new();
    for _ in 0..ROUNDS {
        let empty = microseconds(400, async || {
            provide(&none).await;
        })
        .await;
        let each = async |calls, plugin: &Plugin| {
            let call = microseconds(calls, async || {
                provide(plugin).await;
            })
            .await;
            (call - empty) / f64::from(IMPORTS)
        };
        rounds.push([
            each(100, &http).await,
            microseconds(2_000, async || {
                let answer = client.get(format!("http://{address}/")).send().await;
                let body = answer.expect("an answer").bytes().await;
                assert_eq!(body.expect("a body").len(), 1024);
            })
            .await,
            each(200, &gets).await,
            microseconds(2_000, async || {
                space.get("key", soon()).await.expect("it is read");
            })
            .await,
            each(10, &sets).await,
            microseconds(100, set).await,
        ]);
    }
    let figure = |index: usize| median(rounds.iter().map(|round| round[index]).collect());

    let bench = format!(
        "targets.b.component = {bench:?}\ntargets.b.concurrent_calls = 300\ntargets.b.waiting_calls = 300\n"
    );
    let bench = Arc::new(load(&engine, None, &bench).await);
    let waiting = format!("http = 1, url = \"http://{address}/held\"");
    let waiting = Arc::new(loaded(waiting).await);
    let mut concurrent = Vec::new();
    for live in LIVE {
        concurrent.push(serde_json::json!({
            "calls": live,
            "calls_s": calls_a_second(live, &bench).await,
        }));
    }
    // Last, since each wave leaves its slots warm: the larger first, from slots that nothing has used.
    let memory = live_bytes(LIVE[1], &release, &waiting, &client, &address).await;
    serde_json::json!({
        "http_us": figure(0), "http_native_us": figure(1),
        "state_get_us": figure(2), "state_get_native_us": figure(3),
        "state_set_us": figure(4), "state_set_native_us": figure(5),
        "concurrent": concurrent,
        "live_calls": LIVE[1],
        "live_instance_kib": memory / 1024.0,
        "limits": limits::costs().await,
    })
}

/// Answers a kilobyte at `/` at once, and at `/held` when it is told to.
async fn upstream(held: watch::Receiver<bool>) -> String {
    let answer = || "x".repeat(1024);
    let routes = Router::new().route("/", get(async move || answer())).route(
        "/held",
        get(async move || {
            let mut held = held.clone();
            // The sender lives as long as the measurement.
            let _ = held.wait_for(|released| *released).await;
            answer()
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Memory for each of so many calls that wait for an upstream at once, over as many requests that wait natively.
async fn live_bytes(
    live: usize,
    release: &watch::Sender<bool>,
    plugin: &Arc<Plugin>,
    client: &reqwest::Client,
    address: &str,
) -> f64 {
    let natively = {
        let before = resident_bytes();
        release.send_replace(false);
        let waiting: Vec<_> = (0..live)
            .map(|_| tokio::spawn(client.get(format!("http://{address}/held")).send()))
            .collect();
        settled(resident_bytes).await;
        let during = resident_bytes();
        release.send_replace(true);
        for request in waiting {
            request.await.expect("a task").expect("an answer");
        }
        during - before
    };
    let before = resident_bytes();
    release.send_replace(false);
    let waiting: Vec<_> = (0..live)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { provide(&plugin).await })
        })
        .collect();
    settled(resident_bytes).await;
    let during = resident_bytes();
    release.send_replace(true);
    for call in waiting {
        call.await.expect("a task");
    }
    (during - before - natively) / live as f64
}

/// Waits until a figure stays the same for a fifth of a second.
async fn settled(figure: impl Fn() -> f64) {
    let mut last = f64::NAN;
    let mut same = 0;
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = figure();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}

/// What the process has in memory, files left out.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok())
        .expect("a number")
        * 1024.0
}

/// So many calls at once, on two workers.
async fn calls_a_second(tasks: usize, plugin: &Arc<Plugin>) -> f64 {
    let started = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while started.elapsed() < Duration::from_millis(1_000) {
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
}
