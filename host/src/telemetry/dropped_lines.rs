//! How many lines of the log were dropped, looked at when somebody scrapes.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tracing_appender::non_blocking::ErrorCounter;

/// The count of the log's own writer.
#[derive(Clone)]
pub struct DroppedLines(pub(super) ErrorCounter);

impl fmt::Debug for DroppedLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DroppedLines")
    }
}

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = ConstCounter::new(self.0.dropped_lines() as u64);
        let help = "Lines of the log that were not written, because nobody read standard error";
        let encoder =
            encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?;
        dropped.encode(encoder)
    }
}
