//! What the gateway says of itself: its log on standard error, metrics for whoever scrapes them, traces for a collector.
//!
//! Log and traces are two layers of one subscriber, and each has a filter of its own: a site that logs warnings only
//! still gets whole traces, and turning the log up at run time sends nothing more to the collector.
//!
//! Lines are written by a thread of their own, several in one write where there are several. Whoever reads standard error may
//! stop to: a full disk, a terminal that is scrolled back. Then lines wait, and when too many do, they are counted instead;
//! instances boot meanwhile.

mod dropped_lines;
pub mod metrics;
pub mod trace_context;
pub mod traces;

use std::io::BufWriter;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

pub use self::dropped_lines::DroppedLines;
use crate::config::{Filter, Log, LogFormat, Traces};

/// Lines that may wait to be written. Most are shorter than half a kilobyte.
const WAITING_LINES: usize = 16 * 1024;
/// The module of the lines that tell who was given a secret; for `log.filter`.
pub const AUDIT: &str = "vendordock::audit";

/// How long the exit may wait for the collector to take the last spans.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// What can be changed of log and traces while they run.
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    traces: Option<SdkTracerProvider>,
    dropped_lines: DroppedLines,
    /// Writes what lines there are when it is dropped, for a second at most.
    writer: Mutex<Option<WorkerGuard>>,
}

/// Why log or traces are not as somebody wants them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter cannot be made.
    #[error("[traces]")]
    Traces(#[from] traces::Error),
    /// Another subscriber was there first.
    #[error("the log belongs to another")]
    Log(#[from] reload::Error),
}

/// Starts log and traces. `RUST_LOG` is not read: there is one way to set the filter.
///
/// # Errors
///
/// When there is no way to send traces at all. A collector that does not answer is none.
pub fn start(log: &Log, traces: Option<&Traces>) -> Result<Telemetry, Error> {
    let traces = traces.map(traces::provider).transpose()?;
    let (filter, handle) = reload::Layer::new(log.filter.layer());
    // Spans that are made for traces alone would only repeat in each line what the line says.
    let for_people = filter_fn(|metadata| metadata.target() != traces::SPANS)
        .with_max_level_hint(LevelFilter::TRACE);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(BufWriter::new(std::io::stderr()));
    let dropped_lines = DroppedLines(writer.error_counter());
    let lines = fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Human => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let mut layers = vec![lines.with_filter(filter.and(for_people)).boxed()];
    layers.extend(traces.as_ref().map(traces::layer));
    // A subscriber that is set already is a test's, and stays.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(Telemetry {
        filter: handle,
        traces,
        dropped_lines,
        writer: Mutex::new(Some(guard)),
    })
}

impl Telemetry {
    /// The levels of the log as they are now.
    pub fn filter(&self) -> String {
        self.filter
            .with_current(ToString::to_string)
            .unwrap_or_default()
    }

    /// Changes the levels of the log. What may be set is what the configuration may say, for it is the same type: nothing can
    /// be logged here that could not be logged from the start.
    ///
    /// # Errors
    ///
    /// When the log is another's.
    pub fn set_filter(&self, filter: &Filter) -> Result<(), Error> {
        Ok(self.filter.reload(filter.layer())?)
    }

    /// The lines that nobody read in time.
    pub fn dropped_lines(&self) -> DroppedLines {
        self.dropped_lines.clone()
    }

    /// Sends what spans there are to the collector, within two seconds, and writes the last lines of the log, within one.
    /// Blocks: not for a task.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces {
            // The exporter has said already what there is to say.
            let _ = traces.shutdown_with_timeout(FLUSH_TIME);
        }
        let writer = self.writer.lock();
        drop(writer.unwrap_or_else(PoisonError::into_inner).take());
    }
}
