//! The end of what a guest wrote to its standard output and error.
//!
//! A language's runtime prints what it died of last, so the last bytes are kept, of both streams in the order in which they
//! came, and shown only when the guest crashed.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::mask;

/// What is shown.
const SHOWN_BYTES: usize = 16 * 1024;

/// Kept beside: a secret that stands across the place where the text is cut would be seen by no mask.
const MARGIN_BYTES: usize = 4 * 1024;

/// What a guest may write at once.
const PERMIT_BYTES: usize = 64 * 1024;

/// Both streams of one guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    dropped: bool,
}

impl Tail {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked with it left bytes behind, and any bytes will do.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, new: &[u8]) {
        const MOST: usize = SHOWN_BYTES + MARGIN_BYTES;
        let mut kept = self.kept();
        let (before, new) = new.split_at(new.len().saturating_sub(MOST));
        let excess = (kept.bytes.len() + new.len()).saturating_sub(MOST);
        kept.dropped |= !before.is_empty() || excess > 0;
        kept.bytes.drain(..excess);
        kept.bytes.extend(new);
    }

    /// The text as it may be logged: without what `hidden` finds in it, and without control characters but the ends of lines.
    pub(super) fn text(&self, hidden: impl FnOnce(&str) -> Vec<Range<usize>>) -> String {
        let kept = self.kept();
        let (dropped, bytes) = (kept.dropped, Vec::from(kept.bytes.clone()));
        drop(kept);
        let text = String::from_utf8_lossy(&bytes);
        let from = if dropped {
            text.ceil_char_boundary(text.len().saturating_sub(SHOWN_BYTES))
        } else {
            0
        };
        let mut shown = mask::cover(&text, from, hidden(&text));
        if dropped {
            shown.insert(0, '…');
        }
        shown.retain(|character| !character.is_control() || matches!(character, '\n' | '\t'));
        shown.truncate(shown.trim_end().len());
        shown
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default hands each write to a task, and the last one before a trap would be lost.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for Tail {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tail: &Tail, hidden: &str) -> String {
        tail.text(|text| {
            let found = text.match_indices(hidden);
            found.map(|(at, found)| at..at + found.len()).collect()
        })
    }

    #[test]
    fn the_last_bytes_are_kept_however_they_were_written() {
        let tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = shown(&tail, "nothing");
        assert!(
            text.starts_with('…') && text.ends_with("\nline 9999"),
            "{text}"
        );
        assert!(text.len() <= SHOWN_BYTES + '…'.len_utf8());
        assert!(tail.kept().bytes.len() <= SHOWN_BYTES + MARGIN_BYTES);

        tail.push(&[b'x'; 1 << 20]);
        tail.push(b"the end");
        assert!(shown(&tail, "nothing").ends_with("xxthe end"));
        assert!(tail.kept().bytes.capacity() < 1 << 16);
    }

    #[test]
    fn control_characters_and_what_is_no_text_are_gone() {
        let tail = Tail::default();
        tail.push(b"a\x1b[31mred\0\r\n\tb \xff\n\n");
        assert_eq!(shown(&tail, "nothing"), "a[31mred\n\tb \u{fffd}");
    }

    #[test]
    fn what_is_hidden_is_hidden_where_the_text_is_cut_as_well() {
        let tail = Tail::default();
        tail.push(&[b'-'; MARGIN_BYTES + 100]);
        tail.push(b"hunter2hunter2");
        tail.push(&[b'+'; SHOWN_BYTES - 7]);

        let text = shown(&tail, "hunter2hunter2");
        assert_eq!(&text[..10], "…***++++");
        assert!(!text.contains("hunter2"));
    }
}
