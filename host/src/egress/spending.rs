//! What one call has left to send and receive, however it sends it.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::RequestError;
use crate::config::EgressLimits;

/// What is left of a target's `egress_limits`. Several requests of one call may take from it at once.
#[derive(Debug)]
pub struct Spending {
    requests: AtomicU32,
    request_bytes: AtomicUsize,
    response_bytes: AtomicUsize,
    places: Semaphore,
    limits: EgressLimits,
}

impl Spending {
    /// Everything is left.
    pub fn new(limits: &EgressLimits) -> Self {
        Self {
            requests: AtomicU32::new(limits.requests),
            request_bytes: AtomicUsize::new(limits.request_bytes),
            response_bytes: AtomicUsize::new(limits.response_bytes),
            places: Semaphore::new(limits.concurrent_requests.get() as usize),
            limits: limits.clone(),
        }
    }

    pub(super) fn count(&self) -> Result<(), RequestError> {
        let one_less = |left: u32| left.checked_sub(1);
        let counted = self
            .requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        counted.map(drop).map_err(|_none| RequestError::TooMany)
    }

    /// The right to have a request under way.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, RequestError> {
        // It is never closed.
        self.places
            .acquire()
            .await
            .map_err(|_| RequestError::TooMany)
    }

    pub(super) fn send(&self, bytes: usize) -> Result<(), RequestError> {
        take(&self.request_bytes, bytes).map_err(|_none| RequestError::BodyTooLarge {
            limit: self.limits.request_bytes,
            of: "all bodies of one call together",
        })
    }

    pub(super) fn receive(&self, bytes: usize) -> Result<(), RequestError> {
        take(&self.response_bytes, bytes)
            .map_err(|_none| RequestError::TooLarge(self.limits.response_bytes))
    }
}

fn take(left: &AtomicUsize, bytes: usize) -> Result<(), usize> {
    let less = |left: usize| left.checked_sub(bytes);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_gone_and_what_is_refused_is_not() {
        let spending = Spending::new(&EgressLimits {
            requests: 2,
            response_bytes: 10,
            ..EgressLimits::default()
        });
        assert!(spending.receive(8).is_ok());
        assert!(matches!(
            spending.receive(3),
            Err(RequestError::TooLarge(10))
        ));
        assert!(spending.receive(2).is_ok());

        assert!(spending.count().is_ok() && spending.count().is_ok());
        assert!(matches!(spending.count(), Err(RequestError::TooMany)));
    }
}
