//! What goes wrong below the protocol, the same for every stand-in.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Switches for trouble. They hold for requests that arrive after they are set, until
/// [`clear`](Self::clear).
#[derive(Default)]
pub struct Faults(Mutex<Switches>);

#[derive(Clone, Copy, Default)]
struct Switches {
    delay: Duration,
    hang: bool,
    status: Option<StatusCode>,
    answers_to_lose: usize,
}

/// Marks an answer that the server must throw away, and the connection with it.
#[derive(Clone, Copy)]
pub(crate) struct Lost;

impl Faults {
    /// Each request waits this long before it is looked at.
    pub fn delay(&self, delay: Duration) {
        self.set(|switches| switches.delay = delay);
    }

    /// Requests are read and never answered. The server does not act on them either.
    pub fn hang(&self) {
        self.set(|switches| switches.hang = true);
    }

    /// Requests are answered with this status and a page of HTML, as a web server does whose
    /// application is down.
    ///
    /// # Panics
    ///
    /// When there is no such status.
    pub fn respond_with(&self, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status has three digits");
        self.set(|switches| switches.status = Some(status));
    }

    /// The next so many requests are acted on, but the connection breaks before the answer: the
    /// client cannot know what happened.
    pub fn lose_answers(&self, count: usize) {
        self.set(|switches| switches.answers_to_lose = count);
    }

    /// All is well again.
    pub fn clear(&self) {
        self.set(|switches| *switches = Switches::default());
    }

    fn set<T>(&self, change: impl FnOnce(&mut Switches) -> T) -> T {
        change(&mut self.0.lock().expect("no change of a switch panics"))
    }
}

/// The layer around all routes of a stand-in.
pub(crate) async fn inflict(
    State(faults): State<Arc<Faults>>,
    request: Request,
    next: Next,
) -> Response {
    let Switches {
        delay,
        hang,
        status,
        ..
    } = faults.set(|switches| *switches);
    tokio::time::sleep(delay).await;
    if hang {
        return pending().await;
    }
    if let Some(status) = status {
        let page = format!("<html><head><title>{status}</title></head></html>");
        return (status, [(header::CONTENT_TYPE, "text/html")], page).into_response();
    }
    let lost = faults.set(|switches| {
        let lost = switches.answers_to_lose > 0;
        switches.answers_to_lose = switches.answers_to_lose.saturating_sub(1);
        lost
    });
    let mut response = next.run(request).await;
    if lost {
        response.extensions_mut().insert(Lost);
    }
    response
}
