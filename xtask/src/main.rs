//! The project's own commands. Each is a file here; this one only tells which was meant.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

mod apt;
mod bench;
mod build;
mod cache;
mod cloud_init;
mod demo;
mod fuzz;
mod gateway;
mod openstack;
mod plugins;
mod process;
mod python;
mod test;
mod toolchain;

/// The project's own commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    Demo(demo::Args),
    Test(test::Args),
    Plugins(plugins::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Test(args) => test::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Fuzz(args) => fuzz::run(&args),
            Self::Plugins(args) => plugins::run(&args),
        }
    }
}

/// A runtime for the stand-ins and for asking the gateway.
fn runtime() -> Result<tokio::runtime::Runtime> {
    // reqwest and the stand-ins' TLS use it; when there is one already, that does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Runtime::new().context("cannot start threads")
}

fn main() -> ExitCode {
    let done = if std::env::var_os(fuzz::WRAPPER).is_some() {
        fuzz::compile(std::env::args_os().skip(1))
    } else {
        Command::parse().run()
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Not left to `main`'s result, which adds a backtrace: these are faults of the surroundings.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
