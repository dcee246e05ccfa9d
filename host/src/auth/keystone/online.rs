//! Asking keystone: as whom, how often at once, and when not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::AuthError;
use super::account::Account;
use super::wire::{self, status_error};
use crate::config;

/// After a failure, keystone is asked again when this is over.
const REST: Duration = Duration::from_millis(500);

/// Validations that are reserved for tokens that were good before.
const PLACES_FOR_THE_KNOWN: usize = 4;

/// Unknown tokens that may wait for keystone, for each that it is being asked about.
const WAITING_FOR_EACH_PLACE: usize = 16;

/// What it takes to ask.
pub(super) struct Online {
    account: Arc<Account>,
    places: Semaphore,
    places_for_the_known: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    rests_until: ArcSwapOption<Instant>,
    failing: AtomicBool,
}

impl Online {
    pub(super) fn new(config: &config::Keystone, account: Arc<Account>) -> Self {
        let places = config.concurrent_validations.get() as usize;
        Self {
            account,
            places: Semaphore::new(places),
            places_for_the_known: Semaphore::new(PLACES_FOR_THE_KNOWN),
            waiting: AtomicUsize::new(0),
            most_waiting: places * WAITING_FOR_EACH_PLACE,
            rests_until: ArcSwapOption::empty(),
            failing: AtomicBool::new(false),
        }
    }

    /// Waits for a place among the validations; none when too many wait.
    pub(super) async fn place(&self, is_known: bool) -> Option<SemaphorePermit<'_>> {
        if is_known {
            return self.places_for_the_known.acquire().await.ok();
        }
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.number > self.most_waiting {
            return None;
        }
        self.places.acquire().await.ok()
    }

    pub(super) fn rests_until(&self) -> Option<Instant> {
        let until = self.rests_until.load().as_deref().copied();
        until.filter(|until| Instant::now() < *until)
    }

    /// Remembers whether keystone answers, and says so in the log where that has changed.
    pub(super) fn note(&self, failure: Option<&AuthError>) {
        match failure {
            None => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    self.rests_until.store(None);
                    tracing::info!("keystone answers again");
                }
            }
            Some(error) => {
                self.rests_until
                    .store(Some(Arc::new(Instant::now() + REST)));
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        "tokens cannot be validated; those that were good before are for a while: {}",
                        crate::error::chain(error)
                    );
                }
            }
        }
    }

    /// What keystone says of a token; none when it does not know it.
    pub(super) async fn ask(
        &self,
        subject: HeaderValue,
    ) -> Result<Option<wire::Answer>, AuthError> {
        let account = &self.account;
        let wire = &account.wire;
        let own = account.token(None).await?;
        let mut response = wire.validate(&own, &subject).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Ours was revoked, or keystone's keys were rotated.
            let own = account.token(Some(&own)).await?;
            response = wire.validate(&own, &subject).await?;
        }
        let status = response.status();
        match status {
            StatusCode::OK => Ok(Some(wire.read(response).await?)),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(AuthError::Account(status_error(wire, status)))
            }
            _ => Err(AuthError::Unreachable(status_error(wire, status))),
        }
    }
}

/// One who waits, counted until it is dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    number: usize,
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        Self { count, number }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
