//! `cargo xtask bench`: what the gateway costs, beside something that stands still.
//!
//! Machines differ and drift, so nothing here is a number alone: each round loads all servers in turn, and what counts are the
//! ratios of the medians. Servers have one thread on one core, the load the other.

mod flood;
mod imports;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::gateway::{Server, Site};
use crate::plugins::languages::{self, Language};
use crate::{build, plugins, process};

const CONNECTIONS: &str = "32";

/// Measures the gateway against a bare axum handler and against the same work done natively.
///
/// Needs wrk, which is installed by apt-get where that needs no questions. Let the machine rest meanwhile.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each server is loaded.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Measure plugins in Python and JavaScript as well, in the process. To load one takes seconds.
    #[arg(long)]
    languages: bool,
    /// Measure nothing over HTTP.
    #[arg(long)]
    in_process: bool,
}

/// What one load showed.
#[derive(Debug, Clone, Copy)]
struct Load {
    requests_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// What `host/benches/calls.rs` prints.
#[derive(Deserialize)]
struct Calls {
    parse_us: f64,
    call_us: f64,
    one_worker_calls_s: f64,
    two_workers_calls_s: f64,
    allocator: String,
    others: Vec<Other>,
}

/// The same work in another language.
#[derive(Deserialize)]
struct Other {
    name: String,
    bytes: f64,
    load_ms: f64,
    call_us: f64,
    two_workers_calls_s: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wrk = if args.in_process { None } else { Some(wrk()?) };
    let built = plugins::build(&["bench".to_owned(), "imports".to_owned()])?;
    let mut others = Vec::new();
    if args.languages {
        languages::build(&Language::ALL)?;
        others.extend(["bench", "javascript-probe", "python-probe"]);
    }
    let programs = ["vendordock", "baseline", "calls", "imports"];
    let [gateway, baseline, calls, imports] = build::executables(
        programs,
        &[
            "--release",
            "--bin",
            "vendordock",
            "--bench",
            "baseline",
            "--bench",
            "calls",
            "--bench",
            "imports",
        ],
    )?;

    println!("in the process (medians of 7 rounds)");
    let output = process::output(Command::new(calls).arg(&built.test_directory).args(&others))?;
    let calls: Calls = serde_json::from_str(&output).context("what `calls` printed")?;
    println!(
        "  reading the request                      {:>8.1} µs",
        calls.parse_us
    );
    println!(
        "  reading, store, instance, call, drop     {:>8.1} µs",
        calls.call_us
    );
    println!(
        "  calls with one worker                    {:>8.0} /s",
        calls.one_worker_calls_s
    );
    println!(
        "  calls with two workers                   {:>8.0} /s",
        calls.two_workers_calls_s
    );
    println!(
        "  two workers to one                       {:>8.2}",
        calls.two_workers_calls_s / calls.one_worker_calls_s
    );
    println!("  memory: {}", calls.allocator);
    if !calls.others.is_empty() {
        println!(
            "  {:<18} {:>9} {:>11} {:>10} {:>10}",
            "", "size MB", "loading ms", "call µs", "calls/s"
        );
    }
    for other in &calls.others {
        println!(
            "  {:<18} {:>9.2} {:>11.0} {:>10.1} {:>10.0}",
            other.name,
            other.bytes / 1e6,
            other.load_ms,
            other.call_us,
            other.two_workers_calls_s
        );
    }
    imports::run(&imports, &built.test_directory)?;
    let Some(wrk) = wrk else { return Ok(()) };
    let runtime = crate::runtime()?;
    runtime.block_on(over_http(
        args,
        &wrk,
        &gateway,
        &baseline,
        &built.test_directory,
    ))?;
    let bench = built.test_directory.join("bench.wasm");
    runtime.block_on(flood::run(&wrk, &gateway, &bench))
}

async fn over_http(
    args: &Args,
    wrk: &Path,
    gateway: &Path,
    baseline: &Path,
    components: &Path,
) -> Result<()> {
    let site = Site::start().await?;
    let configuration = format!(
        "{base}\n[targets.cached]\ncomponent = {bench:?}\nconfig = {{ ttl_ms = 3600000 }}\n\n\
         [targets.run]\ncomponent = {bench:?}\n",
        base = site
            .base_configuration()
            .replace("[server]", "[server]\nworkers = 1"),
        bench = components.join("bench.wasm"),
    );
    let script = site.directory().join("post.lua");
    std::fs::write(&script, post(&site.nova_token()))?;

    let on_first_core = |program: &Path| {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    };
    let log = |name: &str| site.directory().join(name);
    let bare = Server::start(on_first_core(baseline).arg("bare"), &log("bare.log"))?;
    let native = Server::start(on_first_core(baseline).arg("native"), &log("native.log"))?;
    // A line for each request, as is the default, and none.
    let mut gateways = Vec::new();
    for filter in ["info", "warn"] {
        let config = site.directory().join(format!("{filter}.toml"));
        let text = format!("{configuration}\n[log]\nfilter = \"{filter}\"\n");
        std::fs::write(&config, text)?;
        let mut serve = on_first_core(gateway);
        serve.arg("serve").arg("--config").arg(config);
        gateways.push(Server::start(&mut serve, &log(&format!("{filter}.log")))?);
    }
    let [logging, quiet] = &gateways[..] else {
        bail!("two were started");
    };

    let servers = [
        ("bare axum", format!("{}/v1/x", bare.url)),
        (
            "gateway, from its cache",
            format!("{}/v1/cached", quiet.url),
        ),
        ("axum, the work natively", format!("{}/v1/x", native.url)),
        ("gateway, a plugin's run", format!("{}/v1/run", quiet.url)),
        (
            "from its cache, logged",
            format!("{}/v1/cached", logging.url),
        ),
        ("a plugin's run, logged", format!("{}/v1/run", logging.url)),
    ];
    let mut loads: Vec<Vec<Load>> = vec![Vec::new(); servers.len()];
    // The first round warms up and is not counted.
    for round in 0..=args.rounds {
        for (index, (name, url)) in servers.iter().enumerate() {
            eprint!("\rround {round} of {}: {name:<30}", args.rounds);
            let seconds = if round == 0 { 1 } else { args.seconds };
            let load = load(wrk, &script, url, seconds).with_context(|| (*name).to_owned())?;
            if round > 0 {
                loads[index].push(load);
            }
        }
    }
    eprintln!();
    let medians: Vec<Load> = loads.iter().map(|loads| median(loads)).collect();
    println!(
        "\nover HTTP, {CONNECTIONS} connections, one server thread, keystone's token cached (medians of {} rounds)",
        args.rounds
    );
    println!(
        "  {:<26} {:>10} {:>9} {:>9}",
        "", "requests/s", "p50 µs", "p99 µs"
    );
    for ((name, _), load) in servers.iter().zip(&medians) {
        println!(
            "  {name:<26} {:>10.0} {:>9.0} {:>9.0}",
            load.requests_s, load.p50_us, load.p99_us
        );
    }
    let ratio = |over: usize, under: usize| medians[over].requests_s / medians[under].requests_s;
    println!(
        "  cached to bare axum        {:>10.2}   (to reach: 0.80)",
        ratio(1, 0)
    );
    println!(
        "  plugin's run to native     {:>10.2}   (to reach: 0.40)",
        ratio(3, 2)
    );
    println!(
        "  with a line for each in the log: {:.2} and {:.2}",
        ratio(4, 0),
        ratio(5, 2)
    );
    Ok(())
}

/// Every request is the one of `host/benches/request.json`, as nova sends it.
fn post(token: &str) -> String {
    let body = include_str!("../../host/benches/request.json");
    format!(
        "wrk.method = \"POST\"\nwrk.body = [==[{body}]==]\nwrk.headers[\"Content-Type\"] = \"application/json\"\n\
         wrk.headers[\"Accept\"] = \"application/json\"\nwrk.headers[\"User-Agent\"] = \"openstack-nova-vendordata\"\n\
         wrk.headers[\"X-Auth-Token\"] = \"{token}\"\n\
         done = function(summary, latency, requests)\n\
           local errors = summary.errors\n\
           print(string.format(\"figures %d %d %f %f %d\", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status + errors.connect + errors.read + errors.write + errors.timeout))\n\
         end\n"
    )
}

fn load(wrk: &Path, script: &Path, url: &str, seconds: u32) -> Result<Load> {
    let output = process::output(
        Command::new("taskset")
            .args(["-c", "1"])
            .arg(wrk)
            .args(["-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s"), "-s"])
            .arg(script)
            .arg(url),
    )?;
    let [requests, duration_us, p50_us, p99_us, errors] = figures(&output)?[..] else {
        bail!("wrk printed {output:?}");
    };
    if errors > 0.0 {
        bail!("{errors} requests failed");
    }
    Ok(Load {
        requests_s: requests / (duration_us / 1e6),
        p50_us,
        p99_us,
    })
}

/// The numbers that a script printed at its end.
fn figures(output: &str) -> Result<Vec<f64>> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("figures "))
        .with_context(|| format!("wrk printed no figures:\n{output}"))?;
    Ok(line.split(' ').map(str::parse).collect::<Result<_, _>>()?)
}

fn median(loads: &[Load]) -> Load {
    let middle = |figure: fn(&Load) -> f64| {
        let mut figures: Vec<f64> = loads.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Load {
        requests_s: middle(|load| load.requests_s),
        p50_us: middle(|load| load.p50_us),
        p99_us: middle(|load| load.p99_us),
    }
}

fn wrk() -> Result<PathBuf> {
    if !process::succeeds(Command::new("sh").args(["-c", "command -v wrk"])) {
        eprintln!("installing wrk");
        process::run(Command::new("apt-get").args([
            "install",
            "--yes",
            "--no-install-recommends",
            "wrk",
        ]))
        .context("wrk is needed: install it with your package manager")?;
    }
    Ok("wrk".into())
}
