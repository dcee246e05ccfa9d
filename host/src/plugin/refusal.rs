//! Why a plugin refuses, in its own words.

use super::bindings::vendordock::vendordata::types as wit;
use super::bindings::vendordock::vendordata::types::FieldError;
use super::mask::Mask;

/// The errors of the WIT, with their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400
    InvalidRequest(Vec<String>),
    /// 403
    Forbidden(String),
    /// 404
    NotFound(String),
    /// 409
    Conflict(String),
    /// 429, milliseconds to wait
    Throttled(u32),
    /// 500
    Misconfigured(Vec<String>),
    /// 500
    Internal(String),
    /// 502
    Upstream(String),
    /// 503, milliseconds to wait
    Unavailable(Option<u32>),
    /// 504
    UpstreamTimeout(String),
}

impl Refusal {
    /// As the plugin says it, without the target's secrets.
    pub(super) fn new(error: wit::Error, mask: &Mask) -> Self {
        let bounded = |text: String| bounded(mask.covered(text));
        let fields = |errors: Vec<FieldError>| {
            let lines = errors.into_iter().map(|error| {
                let at = if error.pointer.is_empty() {
                    "the whole"
                } else {
                    &error.pointer
                };
                bounded(format!("{at}: {}", error.message))
            });
            lines.take(16).collect()
        };
        match error {
            wit::Error::InvalidRequest(errors) => Self::InvalidRequest(fields(errors)),
            wit::Error::Forbidden(text) => Self::Forbidden(bounded(text)),
            wit::Error::NotFound(text) => Self::NotFound(bounded(text)),
            wit::Error::Conflict(text) => Self::Conflict(bounded(text)),
            wit::Error::Throttled(wait_ms) => Self::Throttled(wait_ms),
            wit::Error::Misconfigured(errors) => Self::Misconfigured(fields(errors)),
            wit::Error::Internal(text) => Self::Internal(bounded(text)),
            wit::Error::Upstream(text) => Self::Upstream(bounded(text)),
            wit::Error::Unavailable(wait_ms) => Self::Unavailable(wait_ms),
            wit::Error::UpstreamTimeout(text) => Self::UpstreamTimeout(bounded(text)),
        }
    }
}

/// A plugin's text goes to nova's log and to ours: one line, of a length that a person reads.
fn bounded(mut text: String) -> String {
    const LONGEST_BYTES: usize = 512;
    if text.len() > LONGEST_BYTES {
        text.truncate(text.floor_char_boundary(LONGEST_BYTES));
        text.push('…');
    }
    text.replace(char::is_control, " ")
}
