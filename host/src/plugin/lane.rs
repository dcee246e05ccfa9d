//! A lane for calls that compute for long.
//!
//! A guest that spins gives way at each tick, and is then behind all others that are ready to run. But a target may have many
//! of them, and who comes next waits a tick for each. So whoever has computed for longer than a usual call does goes on in a
//! lane, which takes half of the workers at most. The other half is for those who are done soon.
//!
//! There are things that a guest does without looking up: fill all its memory, have the gateway copy a lot, give all that back.
//! So when a plugin's last call took long, the next begins in the lane.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::cpu_time::CpuTime;

/// What a call computes in the way of everybody else. Most need a hundredth of it.
pub(super) const USUAL: Duration = Duration::from_millis(2);

type Entering = dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send;

/// A call that takes the lane when it has to. A place there is held for one poll, which is no longer than a tick: whoever
/// waits for an upstream takes none.
pub(super) struct InLane<'a, F> {
    call: CpuTime<F>,
    lane: &'a Arc<Semaphore>,
    from_the_start: bool,
    entering: Option<Pin<Box<Entering>>>,
    /// Kept when the call has ended.
    place: Option<OwnedSemaphorePermit>,
}

/// How many calls may be in the lane, with so many workers.
pub(super) fn places(workers: usize) -> usize {
    (workers / 2).max(1)
}

impl<'a, F: Future + Unpin> InLane<'a, F> {
    pub(super) fn new(call: CpuTime<F>, lane: &'a Arc<Semaphore>, from_the_start: bool) -> Self {
        Self {
            call,
            lane,
            from_the_start,
            entering: None,
            place: None,
        }
    }

    /// The place that it had at its end, for what is to be done there after it.
    pub(super) fn leave(self) -> Option<OwnedSemaphorePermit> {
        self.place
    }

    /// The processor time that it took.
    pub(super) fn spent(&self) -> Duration {
        self.call.spent()
    }
}

impl<F: Future + Unpin> Future for InLane<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.from_the_start || this.call.spent() >= USUAL {
            let entering = this
                .entering
                .get_or_insert_with(|| Box::pin(this.lane.clone().acquire_owned()));
            // Nobody closes it.
            this.place = ready!(entering.as_mut().poll(context)).ok();
            this.entering = None;
        }
        let polled = Pin::new(&mut this.call).poll(context);
        if polled.is_pending() {
            this.place = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use super::*;

    /// Computes for so many slices of three milliseconds, and gives way after each.
    async fn computes(slices: u32) {
        for _ in 0..slices {
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(3) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    async fn in_lane(lane: &Arc<Semaphore>, slices: u32) {
        let call = pin!(computes(slices));
        InLane::new(CpuTime::of(call, Arc::default()), lane, false).await;
    }

    #[tokio::test]
    async fn who_computes_for_long_waits_for_a_place_and_who_is_done_soon_needs_none() {
        let lane = Arc::new(Semaphore::new(1));
        let taken = lane.acquire().await;

        in_lane(&lane, 0).await;
        let mut long = pin!(in_lane(&lane, 100));
        let waits = Duration::from_millis(30);
        assert!(tokio::time::timeout(waits, &mut long).await.is_err());

        drop(taken);
        long.await;
        assert_eq!(lane.available_permits(), 1);
    }
}
