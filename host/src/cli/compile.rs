//! `vendordock compile`, which the gateway runs for itself: `loader/compiler.rs` says why.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::error::chain;
use crate::loader::compiler::{MOST_MEMORY_BYTES, TOO_SLOW};
use crate::plugin::engine;

/// Compile the component on standard input to standard output: run by the gateway, for the gateway
#[derive(Debug, clap::Args)]
pub(super) struct Compile {
    /// End without a result after so long
    #[arg(long, value_name = "MS")]
    timeout_ms: NonZeroU32,
}

impl Compile {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let time = Duration::from_millis(self.timeout_ms.get().into());
        std::thread::spawn(move || {
            std::thread::sleep(time);
            std::process::exit(TOO_SLOW.into());
        });
        // The gateway waits for the end of this process, and so must not end first.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .context("cannot follow the gateway into its end")?;
        let memory = Rlimit {
            current: Some(MOST_MEMORY_BYTES),
            maximum: Some(MOST_MEMORY_BYTES),
        };
        setrlimit(Resource::Data, memory).context("cannot limit the memory")?;
        let mut component = Vec::new();
        std::io::stdin()
            .read_to_end(&mut component)
            .context("cannot read the component")?;
        let compiled =
            engine::compiling().and_then(|engine| engine.precompile_component(&component));
        match compiled {
            Ok(compiled) => {
                let mut stdout = std::io::stdout();
                stdout
                    .write_all(&compiled)
                    .and_then(|()| stdout.flush())
                    .context("cannot write the result")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                // As it is: the gateway says what it belongs to.
                eprintln!("{}", chain(&*error));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
