//! Builds the workspace's own programs, with the features of the whole workspace: selected alone, a package would
//! have its dependencies built once more.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{fuzz, process};

/// A program or benchmark that cargo built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }
}

/// The gateway, as the tests have it: without their binary, cargo would choose other features for what both depend on, and
/// build all of that twice.
pub(crate) fn gateway() -> Result<PathBuf> {
    let tests = ["--bin", "vendordock", "--test", "vendordock"];
    let [gateway] = executables(["vendordock"], &tests)?;
    Ok(gateway)
}

/// Programs to be run by libFuzzer, compiled through `wrapper`.
pub(crate) fn instrumented<const N: usize>(
    names: [&str; N],
    wrapper: &Path,
) -> Result<[PathBuf; N]> {
    let mut command = Command::new(env!("CARGO"));
    command
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env(fuzz::WRAPPER, "1")
        .env("CARGO_INCREMENTAL", "0");
    let bins = names.iter().flat_map(|name| ["--bin", name]);
    let arguments: Vec<&str> = ["--features", "vendordock-fuzz/libfuzzer"]
        .into_iter()
        .chain(bins)
        .collect();
    built(command, names, &arguments)
}

/// Builds with these arguments, in one call of cargo, and finds the programs of these names.
pub(crate) fn executables<const N: usize>(
    names: [&str; N],
    arguments: &[&str],
) -> Result<[PathBuf; N]> {
    built(Command::new(env!("CARGO")), names, arguments)
}

fn built<const N: usize>(
    mut command: Command,
    names: [&str; N],
    arguments: &[&str],
) -> Result<[PathBuf; N]> {
    eprintln!("building {}", names.join(", "));
    command
        .args(["build", "--workspace", "--locked"])
        .arg("--message-format=json-render-diagnostics")
        .args(arguments);
    // cargo's own progress goes to standard error, the artifacts to standard output.
    command.stderr(std::process::Stdio::inherit());
    let messages = process::output(&mut command)?;
    let mut programs = Vec::new();
    for name in names {
        let program = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
            .filter(|artifact| artifact.target.name == name && !artifact.target.is_test())
            .find_map(|artifact| artifact.executable)
            .with_context(|| format!("cargo built no program {name}"))?;
        programs.push(program);
    }
    programs.try_into().ok().context("a program for each name")
}
