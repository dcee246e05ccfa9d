//! What was found, and until when that counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use super::Question;

/// What an entry costs beside its texts.
const ENTRY_BYTES: usize = 256;

/// The end of one look-up.
#[derive(Clone)]
pub(super) struct Kept {
    /// JSON; none when there is no such thing.
    pub(super) answer: Option<Arc<str>>,
    fresh_until: Instant,
    good_until: Instant,
}

impl Kept {
    /// Believed for a time, and after that good enough for another, as long as nothing better can be had.
    pub(super) fn new(answer: Option<Arc<str>>, believed: Duration, stale: Duration) -> Self {
        let fresh_until = Instant::now() + believed;
        Self {
            answer,
            fresh_until,
            good_until: fresh_until + stale,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

pub(super) fn weight(question: &Question, kept: &Kept) -> u32 {
    let answer = kept.answer.as_ref().map_or(0, |answer| answer.len());
    // Question and entry stand in several of the cache's tables.
    u32::try_from(2 * question.bytes() + answer + ENTRY_BYTES).unwrap_or(u32::MAX)
}

/// Each entry has its own end.
pub(super) struct AtItsEnd;

impl Expiry<Question, Kept> for AtItsEnd {
    fn expire_after_create(&self, _: &Question, kept: &Kept, now: Instant) -> Option<Duration> {
        Some(kept.good_until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &Question,
        kept: &Kept,
        now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.good_until.saturating_duration_since(now))
    }
}
