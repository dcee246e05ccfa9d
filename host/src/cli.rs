//! The subcommands: one file each.

mod check;
mod compile;
mod nova_conf;
mod request;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::auth::{Keystone, KeystoneError};
use crate::config::{Config, Document, Fault, Faults};
use crate::error::chain;
use crate::loader::Compiler;
use crate::server::tls;

/// Exit code for a configuration or arguments that cannot be used.
const USAGE: u8 = 2;

/// Answers nova's dynamic vendordata requests from sandboxed plugins.
///
/// nova POSTs each instance's data to every target of `[api] vendordata_dynamic_targets`, and puts the answers
/// into vendor_data2.json, which the instance reads. Vendordock is what such a target points at: it checks nova's
/// keystone token, and lets a plugin answer.
#[derive(Debug, Parser)]
#[command(
    name = "vendordock",
    version,
    after_help = "\
First steps:
  vendordock check                 what is wrong with the configuration, or what it would serve
  vendordock serve                 serve it
  vendordock nova-conf             the lines for nova.conf
  vendordock token                 a static token and its hash, where there is no keystone
  vendordock request join --hostname web --metadata ipa_enroll=true
                                   ask as nova would"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Request(Box<request::Request>),
    NovaConf(nova_conf::NovaConf),
    Token(token::Token),
    #[command(hide = true)]
    Compile(compile::Compile),
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "VENDORDOCK_CONFIG",
        default_value = "/etc/vendordock/vendordock.toml"
    )]
    path: PathBuf,
}

/// What compiles plugins: this program, in another process.
fn compiler(config: &Config) -> Compiler {
    Compiler::new(&config.engine, PathBuf::from("/proc/self/exe"))
}

/// What keeps the gateway from knowing the callers of its clouds, each with its place in the file.
fn caller_faults(document: &Document, config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, cloud) in &config.clouds {
        let Some(keystone) = &cloud.keystone else {
            continue;
        };
        let table = [&name.table()[..], &["keystone"]].concat();
        let place = |error: KeystoneError| {
            let key = match error {
                KeystoneError::Secret(_) if keystone.password.is_some() => "password",
                KeystoneError::Secret(_) => "application_credential_secret",
                KeystoneError::Trust(_) => "ca_file",
                KeystoneError::Jws(_) => "jws",
                _ => "auth_url",
            };
            document.fault(&[&table[..], &[key]].concat(), chain(&error))
        };
        faults.extend(Keystone::faults(keystone).into_iter().map(place));
    }
    faults
}

/// What is wrong with the gateway's certificate, each with its place in the file.
fn tls_faults(document: &Document, errors: &[tls::Error]) -> Vec<Fault> {
    let place = |error: &tls::Error| document.fault(&["server", "tls", error.key()], chain(error));
    errors.iter().map(place).collect()
}

impl Arguments {
    /// Runs the subcommand, and tells what went wrong in a line for a person.
    pub fn run(self) -> ExitCode {
        // reqwest and rustls are built without a provider of their own: this is it, for the whole process. It fails
        // when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let outcome = match self.command {
            Command::Serve(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Request(command) => command.run(),
            Command::NovaConf(command) => command.run(),
            Command::Token(command) => command.run(),
            Command::Compile(command) => command.run(),
        };
        match outcome {
            Ok(code) => code,
            Err(error) => {
                if let Some(faults) = error.downcast_ref::<Faults>() {
                    eprintln!("{faults}");
                    return ExitCode::from(USAGE);
                }
                eprintln!("vendordock: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
