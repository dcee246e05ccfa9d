//! `cargo xtask test`: every check, the same here and in CI.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::plugins::languages;
use crate::{cloud_init, openstack, plugins, process};

/// Sets up all that the checks need and runs them: format, lints, documentation, licences, tests.
///
/// The first run builds what the later ones find in the user's cache: wasmtime and the rest (8 minutes on two cores), cargo-deny (3),
/// a standard library for the plugins' target, environments with nova, keystone and glance and with cloud-init, the tools for plugins in
/// Python and JavaScript (1 each). A later one takes two minutes. Needs Python 3.11, and node 18 with npm; on Debian, what is missing is
/// installed.
///
/// Settings: VENDORDOCK_WASM_TOOLCHAIN (see `cargo xtask plugins --help`); VENDORDOCK_ADVISORIES=skip leaves out the check against the
/// advisory database, for machines that cannot fetch it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this check alone, or these: format, plugins, languages, lints, documentation, licences, tests.
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
}

/// A check's name and what it does.
type Step = (&'static str, fn() -> Result<()>);

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let steps: [Step; 7] = [
        ("format", || cargo(&["fmt", "--all", "--check"], &[])),
        ("plugins", || plugins::build(&[]).map(drop)),
        ("languages", languages::build_and_test),
        ("lints", || {
            cargo(
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--",
                    "-D",
                    "warnings",
                ],
                &[],
            )
        }),
        ("documentation", || {
            cargo(
                &["doc", "--workspace", "--no-deps", "--locked"],
                &[("RUSTDOCFLAGS", "-D warnings")],
            )
        }),
        ("licences", deny),
        ("tests", tests),
    ];
    let known = |only: &String| steps.iter().any(|(name, _)| name == only);
    if let Some(unknown) = args.only.iter().find(|only| !known(only)) {
        let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
        bail!(
            "there is no check `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let steps: Vec<Step> = steps.into_iter().filter(|(name, _)| wanted(name)).collect();
    for (number, (name, step)) in (1..).zip(&steps) {
        eprintln!(
            "\n[{number}/{}] {name}, {} s so far",
            steps.len(),
            started.elapsed().as_secs()
        );
        step().with_context(|| format!("the check `{name}` failed"))?;
    }
    eprintln!("\nall checks passed in {} s", started.elapsed().as_secs());
    Ok(())
}

fn tests() -> Result<()> {
    let environments = [openstack::environment()?, cloud_init::environment()?];
    let [openstack, cloud_init] = &environments;
    let text = |path: &std::path::Path| {
        let text = path.to_str().map(str::to_owned);
        text.context("the cache's path is not text")
    };
    cargo(
        &["test", "--workspace", "--locked"],
        &[
            ("VENDORDOCK_OPENSTACK", &text(openstack)?),
            ("VENDORDOCK_CLOUD_INIT", &text(cloud_init)?),
        ],
    )
}

fn deny() -> Result<()> {
    if !process::succeeds(Command::new(env!("CARGO")).args(["deny", "--version"])) {
        eprintln!("installing cargo-deny, once");
        cargo(&["install", "--locked", "cargo-deny"], &[])?;
    }
    let mut checks = vec!["bans", "licenses", "sources"];
    match std::env::var("VENDORDOCK_ADVISORIES").as_deref() {
        Ok("skip") => eprintln!("the advisory database is not asked (VENDORDOCK_ADVISORIES=skip)"),
        _ => checks.push("advisories"),
    }
    cargo(&[&["deny", "--locked", "check"], &checks[..]].concat(), &[])
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).envs(variables.iter().copied());
    process::run(&mut command)
}
