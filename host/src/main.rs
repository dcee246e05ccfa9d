//! The program: arguments, then one of `cli`, then an exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    vendordock::cli::Arguments::parse().run()
}
