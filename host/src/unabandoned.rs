//! Work that is finished even when whoever waits for it goes away.
//!
//! A client that hangs up drops the future that was answering it. For a plugin's run that others wait for too, and that may
//! just have set a one-time password, that must not be the end. To start a task for each run would do, and costs
//! more than a small plugin's run itself; so a task is started only for what was in fact abandoned.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that goes on in a task of its own when it is dropped before its end.
pub struct Unabandoned<F>(Option<Pin<Box<F>>>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static;

impl<F> Unabandoned<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// Starts nothing yet: a future that was never polled is dropped like any other.
    pub fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F> Future for Unabandoned<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else {
            // Polled after its end, which no executor does. To wait for ever is what a fused future would do.
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for Unabandoned<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        // Outside a runtime the process is on its way out, and the work with it.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_was_begun_ends_although_nobody_waits_any_more() {
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = Unabandoned::new(async move {
            begun.await.expect("the sender is kept");
            end.send("done").expect("the receiver is kept");
        });

        let waited = tokio::time::timeout(Duration::from_millis(1), work).await;
        assert!(waited.is_err(), "nothing has ended yet");
        begin.send(()).expect("the work still waits for it");

        assert_eq!(ended.await, Ok("done"));
    }

    #[tokio::test]
    async fn its_result_reaches_whoever_waits() {
        assert_eq!(Unabandoned::new(async { 7 }).await, 7);
    }
}
