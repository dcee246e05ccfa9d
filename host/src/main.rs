//! The program: arguments, then one of `cli`, then an exit code.

use std::process::ExitCode;

use clap::Parser;

/// A plugin's run makes some hundred short-lived allocations, most of them wasmtime's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vendordock::cli::Arguments::parse().run()
}
