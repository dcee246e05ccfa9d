//! How much processor time a call takes.
//!
//! A call that waits for an upstream takes none, and one that computes may be moved to another thread at each pause. So the
//! thread's own clock is read around each poll: two system calls, about a third of a microsecond together, and a call that
//! does not wait is one poll.
//!
//! A guest that computes without end is one poll too, which does not end. So the engine's clock, whose callback runs on the
//! thread that polls, can ask in the middle of one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of one call. A call is polled by one thread at a time, and each of these numbers is written by that
/// one alone; tokio hands the call from thread to thread, and the numbers with it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// All polls that have ended, in nanoseconds.
    polled: AtomicU64,
    /// The thread's own time when the running poll began.
    began: AtomicU64,
}

impl Clock {
    /// Up to now, from within a poll.
    pub(super) fn so_far(&self) -> Duration {
        let began = self.began.load(Ordering::Relaxed);
        let running = nanoseconds(now()).saturating_sub(began);
        self.spent() + Duration::from_nanos(running)
    }

    /// When no poll runs.
    fn spent(&self) -> Duration {
        Duration::from_nanos(self.polled.load(Ordering::Relaxed))
    }
}

/// A future whose polls are timed.
pub(super) struct CpuTime<F> {
    future: F,
    clock: Arc<Clock>,
}

impl<F: Future + Unpin> CpuTime<F> {
    pub(super) fn of(future: F, clock: Arc<Clock>) -> Self {
        Self { future, clock }
    }

    pub(super) fn spent(&self) -> Duration {
        self.clock.spent()
    }
}

impl<F: Future + Unpin> Future for CpuTime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = nanoseconds(now());
        self.clock.began.store(began, Ordering::Relaxed);
        let polled = Pin::new(&mut self.future).poll(context);
        let took = nanoseconds(now()).saturating_sub(began);
        self.clock.polled.fetch_add(took, Ordering::Relaxed);
        polled
    }
}

fn now() -> Duration {
    // The clock of a thread begins at zero.
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn time_that_is_computed_counts_and_time_that_is_waited_does_not() {
        let clock = Arc::new(Clock::default());
        let work = pin!(async {
            let started = now();
            while now() - started < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            assert!(clock.so_far() >= Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(200)).await;
        });
        let started = Instant::now();

        let mut work = CpuTime::of(work, clock.clone());
        (&mut work).await;

        assert!(work.spent() >= Duration::from_millis(20));
        assert!(work.spent() + Duration::from_millis(100) < started.elapsed());
    }
}
