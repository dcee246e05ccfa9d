//! How much a plugin may write to the log: in one call, and in a second.
//!
//! A call's own budget keeps one of them from filling the log, and the target's keeps a thousand of them from it. What is
//! over is counted, and the count is logged: once for a call, and at most once a second for a target.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::plugin::limits::Limits;

/// All calls of a target together, in one second, may write what so many of them may.
const CALLS_A_SECOND: usize = 10;

/// What one call may still write.
#[derive(Debug)]
pub(in crate::plugin) struct LogBudget {
    lines: u32,
    bytes: usize,
    pub(super) dropped: u64,
}

/// What the calls of one target may still write in this second.
#[derive(Debug)]
pub(in crate::plugin) struct LogBudgets {
    most_lines: usize,
    most_bytes: usize,
    second: AtomicU64,
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl LogBudget {
    pub(in crate::plugin) fn new(limits: &Limits) -> Self {
        Self {
            lines: limits.log_lines,
            bytes: limits.log_bytes,
            dropped: 0,
        }
    }

    /// Whether anything more would be written.
    pub(super) fn is_left(&self) -> bool {
        self.lines > 0 && self.bytes > 0
    }

    /// Whether a line of this length may be written; if so, it counts.
    pub(super) fn take(&mut self, length: usize) -> bool {
        if self.lines == 0 || self.bytes < length {
            // What comes later and is shorter would stand there without what it belongs to.
            self.lines = 0;
            self.dropped += 1;
            return false;
        }
        self.lines -= 1;
        self.bytes -= length;
        true
    }
}

impl LogBudgets {
    pub(in crate::plugin) fn new(limits: &Limits) -> Self {
        Self {
            most_lines: (limits.log_lines as usize).saturating_mul(CALLS_A_SECOND),
            most_bytes: limits.log_bytes.saturating_mul(CALLS_A_SECOND),
            second: AtomicU64::new(0),
            lines: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether a line of this length may be written in this second; if so, it counts.
    pub(in crate::plugin) fn take(&self, length: usize) -> bool {
        self.take_at(second(), length)
    }

    fn take_at(&self, second: u64, length: usize) -> bool {
        // Two threads that see a new second begin may give it a line more than it has. No lock is worth that line.
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
            self.bytes.store(0, Ordering::Relaxed);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "the target's plugin logs more than it may in a second (log_lines, log_bytes)"
                );
            }
        }
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(length, Ordering::Relaxed);
        let granted = lines < self.most_lines && bytes.saturating_add(length) <= self.most_bytes;
        if !granted {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

/// Of a clock that begins some time before the first line.
fn second() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    BEGINNING.get_or_init(Instant::now).elapsed().as_secs() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn limits() -> Limits {
        let target: config::Target =
            toml::from_str("component = \"x.wasm\"\nlog_lines = 3\nlog_bytes = 100")
                .expect("a target");
        Limits::new(&target)
    }

    #[test]
    fn a_call_writes_so_many_lines_and_bytes_and_the_rest_is_counted() {
        let mut lines = LogBudget::new(&limits());
        assert_eq!(
            [(); 5].map(|()| lines.take(1)),
            [true, true, true, false, false]
        );
        assert_eq!((lines.is_left(), lines.dropped), (false, 2));

        let mut bytes = LogBudget::new(&limits());
        assert_eq!(
            [60, 60, 1].map(|length| bytes.take(length)),
            [true, false, false]
        );
        assert_eq!((bytes.is_left(), bytes.dropped), (false, 2));
    }

    #[test]
    fn all_calls_of_a_target_write_ten_times_that_in_a_second() {
        let budgets = LogBudgets::new(&limits());
        let written = |second, length| (0..100).filter(|_| budgets.take_at(second, length)).count();
        assert_eq!(written(1, 1), 30);
        assert_eq!(written(2, 100), 10);
        assert_eq!(budgets.dropped.load(Ordering::Relaxed), 90);
        assert_eq!(written(3, 1), 30);
    }
}
