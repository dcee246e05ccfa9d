//! What is known of a token, and until when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
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

/// Tokens that some target accepts, by their SHA-256. Each process of nova has one for an hour, so they are few and change seldom,
/// and every request looks one up: a look-up takes no lock and writes nothing, and to keep one copies the table.
pub(super) struct Welcome {
    most: usize,
    tokens: ArcSwap<Tokens>,
}

type Tokens = HashMap<[u8; 32], Known, foldhash::fast::RandomState>;

impl Welcome {
    /// Holds at most so many.
    pub(super) fn new(most: usize) -> Self {
        let tokens = ArcSwap::default();
        Self { most, tokens }
    }

    pub(super) fn get(&self, digest: &[u8; 32]) -> Option<Known> {
        self.tokens.load().get(digest).cloned()
    }

    /// Keeps a token; past the bound, in place of the one that would end first.
    pub(super) fn insert(&self, digest: [u8; 32], known: &Known) {
        let now = Instant::now();
        self.tokens.rcu(|tokens| {
            let mut tokens: Tokens = others(tokens, &digest, now).collect();
            while tokens.len() >= self.most {
                let first = tokens.iter().min_by_key(|(_, known)| known.good_until);
                let Some(first) = first.map(|(digest, _)| *digest) else {
                    break;
                };
                tokens.remove(&first);
            }
            tokens.insert(digest, known.clone());
            tokens
        });
    }

    pub(super) fn remove(&self, digest: &[u8; 32]) {
        if self.tokens.load().contains_key(digest) {
            let now = Instant::now();
            self.tokens
                .rcu(|tokens| others(tokens, digest, now).collect::<Tokens>());
        }
    }
}

/// Those that have not ended, without one.
fn others(
    tokens: &Tokens,
    without: &[u8; 32],
    now: Instant,
) -> impl Iterator<Item = ([u8; 32], Known)> {
    tokens
        .iter()
        .filter(move |(digest, known)| *digest != without && now < known.good_until)
        .map(|(digest, known)| (*digest, known.clone()))
}

/// Each stranger has its own end.
pub(super) struct AtItsEnd;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Named;

    fn known(seconds: u64) -> Known {
        let id = "u1".to_owned();
        let token = Token {
            user: Named { id, name: None },
            project: None,
            roles: Vec::new(),
        };
        let until = Instant::now() + Duration::from_secs(seconds);
        Known {
            token: token.into(),
            believed_until: until,
            good_until: until,
            keys: 0,
        }
    }

    #[test]
    fn the_table_stays_within_its_bound_and_loses_what_would_end_first() {
        let welcome = Welcome::new(2);
        welcome.insert([1; 32], &known(20));
        welcome.insert([2; 32], &known(10));
        welcome.insert([2; 32], &known(10));
        assert!(welcome.get(&[1; 32]).is_some());

        welcome.insert([3; 32], &known(30));
        let kept = [1, 2, 3].map(|digest| welcome.get(&[digest; 32]).is_some());
        assert_eq!(kept, [true, false, true]);

        welcome.remove(&[1; 32]);
        assert!(welcome.get(&[1; 32]).is_none());
        assert!(welcome.get(&[3; 32]).is_some());
    }

    #[test]
    fn what_has_ended_makes_room_by_itself() {
        let welcome = Welcome::new(2);
        welcome.insert([1; 32], &known(0));
        welcome.insert([2; 32], &known(10));
        welcome.insert([3; 32], &known(20));
        let kept = [1, 2, 3].map(|digest| welcome.get(&[digest; 32]).is_some());
        assert_eq!(kept, [false, true, true]);
    }
}
