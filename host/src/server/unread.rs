//! What is left of a body when the answer is there already.
//!
//! A caller without a good token is answered before his body is read, and nova has sent it by then, or is about to. hyper
//! closes a connection with bytes on it that nobody read, and says so to nobody. nova renews its token, asks again on
//! the same connection, finds it closed, and the instance has no vendordata. So the rest is read and thrown away before
//! the answer goes out. Where it does not come at once, or is too much, the answer says that the connection closes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body that is under way arrives in this time.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Where a body goes that is dropped before its end. Each connection has one, for it has one request at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<Incoming>>>);

/// A request's body, as the router gets it.
pub(super) struct Returning {
    /// None once it has been read to its end.
    body: Option<Incoming>,
    unread: Unread,
}

impl Unread {
    pub(super) fn lend(&self, body: Incoming) -> Returning {
        Returning {
            body: Some(body),
            unread: self.clone(),
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Incoming>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was left of the last body. False when there is more than `most` bytes of it, or when it does not come.
    /// A caller who `asks_first` (`Expect: 100-continue`) has sent nothing, and to read would be to ask him for it.
    pub(super) async fn is_read(&self, asks_first: bool, most: usize) -> bool {
        let Some(mut body) = self.slot().take() else {
            return true;
        };
        if asks_first {
            return false;
        }
        let reading = async {
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                length += frame.data_ref().map_or(0, Bytes::len);
                if length > most {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(AT_ONCE, reading)
            .await
            .unwrap_or(false)
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            *self.unread.slot() = self.body.take();
        }
    }
}
