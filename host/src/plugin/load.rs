//! How many calls of one plugin may run, and how many may wait to.
//!
//! nova gives up after some seconds, and whoever waits longer than that waits for nothing. So the queue is short, and who
//! does not fit in is told at once: a target whose upstream hangs must not fill the gateway with requests that
//! nobody waits for any more.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Error;

/// The calls of one target in one cloud.
pub(super) struct Load {
    places: Semaphore,
    /// Those that run and those that wait.
    calls: AtomicU32,
    most_calls: u32,
}

/// The right to run, until it is dropped.
pub(super) struct Place<'a> {
    _counted: Counted<'a>,
    _own: SemaphorePermit<'a>,
    _engine: SemaphorePermit<'a>,
}

struct Counted<'a>(&'a AtomicU32);

impl Load {
    pub(super) fn new(running: u32, waiting: u32) -> Self {
        Self {
            places: Semaphore::new(running as usize),
            calls: AtomicU32::new(0),
            most_calls: running.saturating_add(waiting),
        }
    }

    /// Waits for a place, among the target's own calls and then among those of all.
    pub(super) async fn enter<'a>(
        &'a self,
        engine: &'a Semaphore,
        deadline: Instant,
    ) -> Result<Place<'a>, Error> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(&self.calls);
        if before >= self.most_calls {
            return Err(Error::Overloaded);
        }
        let places = async {
            let own = self.places.acquire().await;
            (own, engine.acquire().await)
        };
        match tokio::time::timeout_at(deadline, places).await {
            Ok((Ok(own), Ok(engine))) => Ok(Place {
                _counted: counted,
                _own: own,
                _engine: engine,
            }),
            _ => Err(Error::Busy),
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_as_long_as_configured_and_whoever_leaves_makes_room() {
        let (load, engine) = (Load::new(1, 1), Semaphore::new(8));
        let deadline = Instant::now() + Duration::from_secs(60);
        let running = load.enter(&engine, deadline).await;
        assert!(running.is_ok());

        let mut waiting = Box::pin(load.enter(&engine, deadline));
        assert!(futures_poll(&mut waiting).await.is_none(), "it waits");
        let refused = load.enter(&engine, deadline).await;
        assert!(matches!(refused.err(), Some(Error::Overloaded)));

        drop(running);
        assert!(waiting.await.is_ok());
        assert!(load.enter(&engine, deadline).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_that_does_not_come_in_time_is_given_up() {
        let (load, engine) = (Load::new(8, 8), Semaphore::new(0));
        let late = load.enter(&engine, Instant::now()).await;
        assert!(matches!(late.err(), Some(Error::Busy)));
        assert_eq!(load.calls.load(Ordering::Relaxed), 0);
    }

    /// What a future gives at once, if it does.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
