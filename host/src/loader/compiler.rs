//! Compiling, in a process of its own.
//!
//! A compiler has no deadline: once begun, it goes on as long as the component likes, on all processors, and takes what memory
//! it needs. A component can be made to need hours. So `vendordock compile` does it, which ends itself when its time is over
//! and may have so much memory only; a fault of the compiler's stays there as well. It is our own program, so that what it
//! gives back is as good as what we would have compiled here.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Component;

use crate::config;

/// What the process ends with when its time was over.
pub(crate) const TOO_SLOW: u8 = 3;

/// Memory of one such process. A component from componentize-py takes a quarter of it.
pub(crate) const MOST_MEMORY_BYTES: u64 = 4 << 30;

/// Starts such processes, no more at once than there are processors.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
    pub(super) most_bytes: u64,
    pub(super) time: Duration,
    places: Arc<Semaphore>,
}

/// Why there is no compiled code.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Longer than `compile_timeout_ms`.
    #[error("it was not done in time")]
    TooSlow,
    /// The component is at fault; the compiler's own words.
    #[error("{0}")]
    Refused(String),
    /// It died.
    #[error("the compiler ended with {0}; it may have {MOST_MEMORY_BYTES} bytes of memory")]
    Died(ExitStatus),
    /// It was not even started.
    #[error("the compiler cannot be started")]
    Start(#[source] io::Error),
    /// What it gave does not fit.
    #[error("what the compiler made cannot be loaded")]
    Load(#[source] wasmtime::Error),
    /// The thread that waited for it is gone.
    #[error("nobody waited for the compiler")]
    Lost,
}

impl Compiler {
    /// `program` is this program; to itself it is `/proc/self/exe`, also after its file was replaced.
    pub fn new(engine: &config::Engine, program: PathBuf) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        Self {
            program,
            most_bytes: engine.component_bytes.get(),
            time: Duration::from_millis(engine.compile_timeout_ms.get().into()),
            places: Arc::new(Semaphore::new(processors)),
        }
    }

    pub(super) async fn compile(
        &self,
        engine: &wasmtime::Engine,
        bytes: Vec<u8>,
    ) -> Result<Component, Failure> {
        let _place = self.places.acquire().await.map_err(|_| Failure::Lost)?;
        let (compiler, engine) = (self.clone(), engine.clone());
        let compile = move || compiler.compile_blocking(&engine, &bytes);
        tokio::task::spawn_blocking(compile)
            .await
            .map_err(|_panicked| Failure::Lost)?
    }

    #[expect(
        unsafe_code,
        reason = "compiled code is loaded without a check; it comes from our own program"
    )]
    fn compile_blocking(
        &self,
        engine: &wasmtime::Engine,
        bytes: &[u8],
    ) -> Result<Component, Failure> {
        let compiled = self.run(bytes)?;
        // SAFETY: it was made by `vendordock compile`, from a pipe to which nobody else has access.
        unsafe { Component::deserialize(engine, compiled) }.map_err(Failure::Load)
    }

    fn run(&self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut child = Command::new(&self.program)
            .args(["compile", "--timeout-ms"])
            .arg(self.time.as_millis().to_string())
            // There may be secrets.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::Start)?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let output = std::thread::scope(|scope| {
            // A process that ends before it has read all has said why.
            scope.spawn(move || {
                let _ = stdin.write_all(bytes);
            });
            child.wait_with_output()
        })
        .map_err(Failure::Start)?;
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            Some(code) if code == i32::from(TOO_SLOW) => Err(Failure::TooSlow),
            Some(_) if !output.stderr.is_empty() => {
                let text = String::from_utf8_lossy(&output.stderr);
                Err(Failure::Refused(text.trim_end().to_owned()))
            }
            _ => Err(Failure::Died(output.status)),
        }
    }
}
