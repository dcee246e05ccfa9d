//! `log`: a plugin's lines in the gateway's log.
//!
//! A plugin writes what it likes, so a line is bounded in length and number, and stays text: message and fields are
//! values of ours, never names.

use std::fmt::Write as _;

use tracing::Level;

use crate::plugin::bindings::vendordock::vendordata::log;
use crate::plugin::call::{Call, Phase};

/// Lines of one call. What comes after is counted, and the count is logged when the call ends.
pub(in crate::plugin) const MOST_LINES: u32 = 100;
const LONGEST_LINE_BYTES: usize = 1_024;

impl log::Host for Call {
    fn is_enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        self.allow("log.is-enabled", Phase::Validate)?;
        Ok(self.log_lines < MOST_LINES && is_enabled(level))
    }

    fn emit(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.allow("log.emit", Phase::Validate)?;
        self.log_lines = self.log_lines.saturating_add(1);
        if self.log_lines > MOST_LINES || !is_enabled(level) {
            return Ok(());
        }
        let line = line(message, &fields);
        // tracing fixes a line's level where it is written.
        match level {
            log::Level::Trace => tracing::trace!(target: "plugin", "{line}"),
            log::Level::Debug => tracing::debug!(target: "plugin", "{line}"),
            log::Level::Info => tracing::info!(target: "plugin", "{line}"),
            log::Level::Warn => tracing::warn!(target: "plugin", "{line}"),
            log::Level::Error => tracing::error!(target: "plugin", "{line}"),
        }
        Ok(())
    }
}

fn is_enabled(level: log::Level) -> bool {
    let level = match level {
        log::Level::Trace => Level::TRACE,
        log::Level::Debug => Level::DEBUG,
        log::Level::Info => Level::INFO,
        log::Level::Warn => Level::WARN,
        log::Level::Error => Level::ERROR,
    };
    level <= tracing::level_filters::LevelFilter::current()
}

fn line(message: String, fields: &[(String, String)]) -> String {
    let mut line = message;
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = write!(line, " {name}={value:?}");
        if line.len() > LONGEST_LINE_BYTES {
            break;
        }
    }
    if line.len() > LONGEST_LINE_BYTES {
        line.truncate(line.floor_char_boundary(LONGEST_LINE_BYTES));
        line.push('…');
    }
    // A new line would let a plugin write lines that look like ours.
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_cannot_forge_a_line_or_fill_the_log() {
        let forged = line("ok\n2026-11-20 ERROR all is lost".to_owned(), &[]);
        assert_eq!(forged, "ok 2026-11-20 ERROR all is lost");

        let fields = vec![("k".to_owned(), "ä".repeat(10_000)); 100];
        let long = line("much".to_owned(), &fields);
        assert!(long.len() <= LONGEST_LINE_BYTES + "…".len());
    }
}
