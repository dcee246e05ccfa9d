//! What imports, calls that wait, many calls and limits cost: prints what `host/benches/imports` measured.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

#[derive(Deserialize)]
struct Figures {
    http_us: f64,
    http_native_us: f64,
    state_get_us: f64,
    state_get_native_us: f64,
    state_set_us: f64,
    state_set_native_us: f64,
    concurrent: Vec<Concurrent>,
    live_calls: f64,
    live_instance_kib: f64,
    limits: Limits,
}

#[derive(Deserialize)]
struct Concurrent {
    calls: u32,
    calls_s: f64,
}

#[derive(Deserialize)]
struct Limits {
    without_us: f64,
    deadline_checks_us: f64,
    fuel_instead_us: f64,
    memory_and_tables_us: f64,
    timer_us: f64,
    cpu_clock_us: f64,
}

pub(super) fn run(program: &Path, components: &Path) -> Result<()> {
    let output = process::output(
        Command::new(program)
            .arg(components.join("imports.wasm"))
            .arg(components.join("bench.wasm")),
    )?;
    let figures: Figures = serde_json::from_str(&output).context("what `imports` printed")?;
    println!("\nimports (medians of 5 rounds)             plugin µs  native µs");
    for (name, plugin, native) in [
        (
            "http.send, 1 KB from loopback",
            figures.http_us,
            figures.http_native_us,
        ),
        (
            "state.get, 100 bytes",
            figures.state_get_us,
            figures.state_get_native_us,
        ),
        (
            "state.set, on the disk",
            figures.state_set_us,
            figures.state_set_native_us,
        ),
    ] {
        println!("  {name:<38} {plugin:>9.1} {native:>10.1}");
    }
    println!("\nmany calls at once, two workers");
    for concurrent in &figures.concurrent {
        println!(
            "  {:>3} calls                              {:>9.0} /s",
            concurrent.calls, concurrent.calls_s
        );
    }
    println!(
        "  one of {:.0} that wait for an upstream    {:>9.1} KiB",
        figures.live_calls, figures.live_instance_kib
    );
    let limits = &figures.limits;
    println!(
        "\nlimits, each over the same work of {:.1} µs without it",
        limits.without_us
    );
    for (name, cost) in [
        (
            "checks for deadline and CPU time",
            limits.deadline_checks_us,
        ),
        (
            "the same by fuel, which is not used",
            limits.fuel_instead_us,
        ),
        ("memory and tables", limits.memory_and_tables_us),
        ("the timer of a call", limits.timer_us),
        ("the CPU clock, for each poll", limits.cpu_clock_us),
    ] {
        println!("  {name:<38} {cost:>9.2} µs");
    }
    Ok(())
}
