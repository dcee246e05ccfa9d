//! What the gateway says of itself: its log on standard error, metrics for whoever scrapes them, traces for a collector.
//!
//! Log and traces are two layers of one subscriber, and each has a filter of its own: a site that logs warnings only
//! still gets whole traces, and turning the log up at run time sends nothing more to the collector.

pub mod metrics;
pub mod trace_context;
pub mod traces;

use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Filter, Log, LogFormat, Traces};

/// How long the exit may wait for the collector to take the last spans.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// What can be changed of log and traces while they run.
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    traces: Option<SdkTracerProvider>,
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
    let lines = fmt::layer().with_writer(std::io::stderr);
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

    /// Sends what spans there are to the collector, within two seconds. Blocks: not for a task.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces {
            // The exporter has said already what there is to say.
            let _ = traces.shutdown_with_timeout(FLUSH_TIME);
        }
    }
}
