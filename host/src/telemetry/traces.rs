//! Spans, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! Four kinds are sent: `request`, the plugin's run (`plugin`), one request of the plugin (`egress`) and one look-up that was
//! not answered from memory (`lookup`). Only spans:
//! events are lines of the log, whose text is the plugin's or an upstream's, and a collector is read by others than the log
//! is. Spans of libraries are not sent either; they would tell of the exporter's own requests, without end. An answer from
//! the cache has no span, since making one costs as much as the answer.
//!
//! A batch goes out from a thread of its own. When the collector is slow or gone, the queue fills and spans are dropped;
//! no request waits, and one line a minute says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;

use crate::config::Traces;

/// The tracing target of spans that are made for traces alone, and are not shown in the log. Where no traces are
/// configured, such a span costs one comparison.
pub const SPANS: &str = "vendordock::traces";

/// How long the collector may take for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the log says that spans are lost.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Why traces cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS is not available, or a thread cannot be started.
    #[error("cannot make an HTTP client for the collector")]
    Client(#[source] reqwest::Error),
    /// The operating system has no thread for it.
    #[error("cannot start a thread for the collector")]
    Thread,
    /// The exporter refuses its settings.
    #[error("cannot make an exporter for {endpoint}")]
    Exporter {
        /// The collector.
        endpoint: String,
        /// Why.
        source: ExporterBuildError,
    },
}

/// What makes spans and sends them.
pub(super) fn provider(traces: &Traces) -> Result<SdkTracerProvider, Error> {
    let endpoint = traces.otlp_endpoint.as_str();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client()?)
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        // The next batch is the next try. Repeating this one would hold up the exit.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    // Not from the environment, as all else.
    let resource = Resource::builder_empty()
        .with_service_name("vendordock")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    let ratio = Sampler::TraceIdRatioBased(traces.sample_ratio);
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_batch_exporter(Reporting::new(exporter))
        .build())
}

/// The half of the subscriber that makes a span of ours a span of the trace.
pub(super) fn layer(provider: &SdkTracerProvider) -> Box<dyn Layer<Registry> + Send + Sync> {
    let ours = filter_fn(|metadata| {
        metadata.is_span() && metadata.target().split("::").next() == Some("vendordock")
    });
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("vendordock"))
        // The parent is found by tracing's own spans; a second stack of contexts for each thread would be for others.
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
        .boxed()
}

/// A blocking client, since it is the exporter's thread that waits. It has a runtime inside, which must not be made on a
/// worker of another.
fn client() -> Result<reqwest::blocking::Client, Error> {
    let making = std::thread::Builder::new().spawn(|| {
        reqwest::blocking::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXPORT_TIMEOUT)
            .build()
    });
    let made = making.map_err(|_no_thread| Error::Thread)?.join();
    made.map_err(|_panicked| Error::Thread)?
        .map_err(Error::Client)
}

/// Sends batches, and says when that fails: the exporter's own words would need a feature that logs much more.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    lost_spans: AtomicUsize,
    reported: Mutex<Option<Instant>>,
}

impl<E> Reporting<E> {
    fn new(exporter: E) -> Self {
        Self {
            exporter,
            lost_spans: AtomicUsize::new(0),
            reported: Mutex::new(None),
        }
    }

    /// Adds spans that were lost, and says how many there are when it is time for a line about them.
    fn lost(&self, spans: usize, now: Instant) -> Option<usize> {
        self.lost_spans.fetch_add(spans, Ordering::Relaxed);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_some_and(|last| now.duration_since(last) < REPORT_EVERY) {
            return None;
        }
        *reported = Some(now);
        Some(self.lost_spans.swap(0, Ordering::Relaxed))
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if let Err(error) = &exported
            && let Some(lost_spans) = self.lost(spans, Instant::now())
        {
            tracing::warn!(lost_spans, "the collector does not take traces: {error}");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_are_lost_are_told_once_a_minute_and_all_of_them() {
        let (reporting, start) = (Reporting::new(()), Instant::now());
        let told = [0, 5, 59, 60, 61, 130]
            .map(|seconds| reporting.lost(10, start + Duration::from_secs(seconds)));
        assert_eq!(told, [Some(10), None, None, Some(30), None, Some(20)]);
    }
}
