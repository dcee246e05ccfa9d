//! What is known of a token, and until when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use crate::auth::Token;

/// A token that some target accepts.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) token: Arc<Token>,
    pub(super) believed_until: Instant,
    /// After that not even a keystone that is down makes it good.
    pub(super) good_until: Instant,
    /// The keys that its signature was checked with.
    pub(super) keys: u64,
}

/// A token that nobody accepts.
#[derive(Clone)]
pub(super) struct Stranger {
    /// None when keystone does not know it.
    pub(super) token: Option<Arc<Token>>,
    pub(super) until: Instant,
}

/// Each entry has its own end.
pub(super) struct AtItsEnd;

impl Expiry<[u8; 32], Known> for AtItsEnd {
    fn expire_after_create(&self, _: &[u8; 32], known: &Known, now: Instant) -> Option<Duration> {
        Some(known.good_until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &[u8; 32],
        known: &Known,
        now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(known.good_until.saturating_duration_since(now))
    }
}

impl Expiry<[u8; 32], Stranger> for AtItsEnd {
    fn expire_after_create(
        &self,
        _: &[u8; 32],
        stranger: &Stranger,
        now: Instant,
    ) -> Option<Duration> {
        Some(stranger.until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &[u8; 32],
        stranger: &Stranger,
        now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(stranger.until.saturating_duration_since(now))
    }
}
