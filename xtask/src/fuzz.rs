//! `cargo xtask fuzz`: what strangers and plugins can send, made up by libFuzzer for as long as you like.
//!
//! cargo-fuzz does the same with a nightly compiler. libFuzzer itself needs none: coverage is recorded by a pass of LLVM that the
//! stable compiler has too. Only the workspace's own crates are compiled for it, through `RUSTC_WORKSPACE_WRAPPER`; what they
//! depend on is what the tests use.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum as _;

use crate::{build, cache, process};

/// Looks for input that makes the gateway panic, believe what nobody signed, or hand on what breaks a guest.
///
/// Needs a C++ compiler, for libFuzzer. What it finds interesting is kept in the user's cache and begun with the next
/// time; input that breaks something is written to the directory it is started in.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to make up; everything in turn when absent.
    target: Option<Target>,
    /// For how long, in seconds, each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// A request's body.
    Body,
    /// A token.
    Token,
    /// A plugin's answer.
    Answer,
}

/// Set in the environment of the compiler, which is then called through this very program.
pub(crate) const WRAPPER: &str = "VENDORDOCK_FUZZ_RUSTC";

/// What cargo-fuzz passes, and optimisation: a fuzzer that is slow finds nothing.
const FLAGS: [&str; 7] = [
    "-Copt-level=3",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let names = ["fuzz-body", "fuzz-token", "fuzz-answer"];
    let programs = build::instrumented(names, &own)?;
    let targets = [Target::Body, Target::Token, Target::Answer];
    for (target, program) in targets.into_iter().zip(programs) {
        let wanted = args
            .target
            .is_none_or(|wanted| name(wanted) == name(target));
        if !wanted {
            continue;
        }
        let corpus = corpus(target)?;
        eprintln!("\nfuzzing {} for {} s", name(target), args.seconds);
        process::run(
            Command::new(program)
                .arg(corpus)
                .arg(format!("-max_total_time={}", args.seconds))
                // The longest that is interesting: limits are tested elsewhere.
                .args([
                    "-max_len=4096",
                    "-timeout=5",
                    "-rss_limit_mb=1024",
                    "-print_final_stats=1",
                ]),
        )?;
    }
    Ok(())
}

/// Called by cargo in place of the compiler, with the compiler as first argument. Returns only when that cannot be run.
pub(crate) fn compile(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let compiler = arguments.next().context("cargo names the compiler")?;
    let error = Command::new(&compiler).args(arguments).args(FLAGS).exec();
    Err(error).with_context(|| format!("cannot run {}", compiler.display()))
}

fn corpus(target: Target) -> Result<PathBuf> {
    let directory = cache::directory()?.join("fuzz").join(name(target));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    // JSON that is answered with is made up from JSON that was sent.
    if let Target::Body | Target::Answer = target {
        let seed = include_bytes!("../../host/benches/request.json");
        std::fs::write(directory.join("request.json"), seed)?;
    }
    Ok(directory)
}

fn name(target: Target) -> String {
    target
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
