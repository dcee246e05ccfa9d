//! What the gateway says of itself: its log, on standard error.

use tracing_subscriber::fmt::SubscriberBuilder;

use crate::config::{Log, LogFormat};

/// Starts logging. `RUST_LOG` is not read: there is one way to set the filter.
pub fn start(log: &Log) {
    let builder = SubscriberBuilder::default()
        .with_env_filter(log.filter.layer())
        .with_writer(std::io::stderr);
    // A subscriber that is set already is a test's, and stays.
    let _ = match log.format {
        LogFormat::Human => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
