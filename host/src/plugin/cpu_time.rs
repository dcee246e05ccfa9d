//! How much processor time a call takes.
//!
//! A call that waits for an upstream takes none, and one that computes may be moved to another thread at each pause. So the
//! thread's own clock is read around each poll: two system calls, about a third of a microsecond together, and a call that
//! does not wait is one poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A future, and the processor time of all its polls.
pub(super) struct CpuTime<F> {
    future: F,
    spent: Duration,
}

impl<F: Future + Unpin> CpuTime<F> {
    pub(super) fn of(future: F) -> Self {
        let spent = Duration::ZERO;
        Self { future, spent }
    }

    pub(super) fn spent(&self) -> Duration {
        self.spent
    }
}

impl<F: Future + Unpin> Future for CpuTime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = now();
        let polled = Pin::new(&mut self.future).poll(context);
        self.spent += now().saturating_sub(before);
        polled
    }
}

fn now() -> Duration {
    // The clock of a thread begins at zero.
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn time_that_is_computed_counts_and_time_that_is_waited_does_not() {
        let work = pin!(async {
            let started = now();
            while now() - started < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        });
        let started = Instant::now();

        let mut work = CpuTime::of(work);
        (&mut work).await;

        assert!(work.spent() >= Duration::from_millis(20));
        assert!(work.spent() + Duration::from_millis(100) < started.elapsed());
    }
}
