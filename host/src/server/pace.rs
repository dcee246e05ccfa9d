//! How long a connection may take for what it is doing.
//!
//! hyper can limit the time for a request's head, and starts to count when the connection falls idle. So it cannot tell
//! nova, which keeps a connection open for minutes between two requests, from a peer that sends a head byte by byte to
//! hold the connection. Here the moments are noted where the bytes pass.
//!
//! To note one is all that a request on its way costs, and a clock is read for it that is right to some milliseconds and costs
//! a fifth of the exact one. The timer is the connection's, and is moved when it would fire too late, or has fired too early.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long it may take to write an answer. The kernel takes most answers at once, whether the peer reads or not.
const ANSWER: Duration = Duration::from_secs(10);

/// How long each thing may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A head, from its first byte to its last.
    pub(super) head: Duration,
    /// Nothing, from the last answer on.
    pub(super) idle: Duration,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// No byte of a next request has come.
    Nothing,
    /// Some of its head has come.
    Head,
    /// It is being read and answered, which has limits of its own.
    Request,
    /// The answer is being written.
    Answer,
}

/// What a connection is doing, and since when. Known to its two ends: the stream and the service.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// The same moment, by the coarse clock.
    start_coarse: Duration,
    /// Microseconds from the start, and in the lowest two bits what began then.
    state: AtomicU64,
}

/// A stream that notes when requests begin and answers are out.
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            start_coarse: coarse_clock(),
            state: AtomicU64::new(Doing::Nothing as u64),
        }
    }

    fn note(&self, doing: Doing) {
        let micros = coarse_clock().saturating_sub(self.start_coarse).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        // Both ends are in one task.
        let state = (micros << 2) | doing as u64;
        self.state.store(state, Ordering::Relaxed);
    }

    fn doing(&self) -> (Doing, Instant) {
        let state = self.state.load(Ordering::Relaxed);
        let all = [Doing::Nothing, Doing::Head, Doing::Request, Doing::Answer];
        let since = self.start + Duration::from_micros(state >> 2);
        (all[(state & 3) as usize], since)
    }

    /// The head is complete.
    pub(super) fn request(&self) {
        // No limit counts from here.
        self.state.store(Doing::Request as u64, Ordering::Relaxed);
    }

    /// The answer is there.
    pub(super) fn answer(&self) {
        self.note(Doing::Answer);
    }

    fn bytes_came(&self) {
        // After an answer the rest of a body that nobody wanted may come, and counts as a head: the connection is then
        // closed earlier than it had to be, which costs its peer a new one.
        if self.doing().0 == Doing::Nothing {
            self.note(Doing::Head);
        }
    }

    fn all_is_written(&self) {
        if self.doing().0 == Doing::Answer {
            // The moment stays.
            self.state
                .fetch_and(!(Doing::Answer as u64), Ordering::Relaxed);
        }
    }

    /// When the time is over for what the connection is doing now.
    pub(super) fn end(&self, limits: &Limits) -> Option<(Instant, Doing)> {
        let (doing, since) = self.doing();
        let limit = match doing {
            Doing::Nothing => limits.idle,
            Doing::Head => limits.head,
            Doing::Request => return None,
            Doing::Answer => ANSWER.min(limits.idle),
        };
        Some((since + limit, doing))
    }
}

/// Since the machine's start.
fn coarse_clock() -> Duration {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    // The clock does not run backwards, nor before its beginning.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

impl Doing {
    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "no request came",
            Self::Head => "a request's head took too long",
            Self::Request => "a request took too long",
            Self::Answer => "the peer did not read its answer",
        }
    }
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.pace.all_is_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_from_where_its_part_of_a_request_began() {
        let limits = Limits {
            head: Duration::from_secs(5),
            idle: Duration::from_secs(300),
        };
        let pace = Pace::new();
        let left = |pace: &Pace| {
            let (end, doing) = pace.end(&limits)?;
            Some((doing, (end - pace.start).as_secs()))
        };
        assert_eq!(left(&pace), Some((Doing::Nothing, 300)));

        pace.bytes_came();
        let (begun, _) = pace.end(&limits).expect("a limit");
        assert_eq!(left(&pace), Some((Doing::Head, 5)));
        // More of the head gives it no more time.
        pace.bytes_came();
        assert_eq!(pace.end(&limits), Some((begun, Doing::Head)));

        pace.request();
        // The body's bytes are no head.
        pace.bytes_came();
        pace.all_is_written();
        assert_eq!(left(&pace), None);

        pace.answer();
        assert_eq!(left(&pace), Some((Doing::Answer, 10)));
        pace.bytes_came();
        assert_eq!(left(&pace), Some((Doing::Answer, 10)));

        pace.all_is_written();
        assert_eq!(left(&pace), Some((Doing::Nothing, 300)));
    }
}
