//! What a call died of, told to those who can mend it.
//!
//! The line of the request says that its plugin crashed, and of what. This one is for the plugin's author: the functions that
//! were running, by name, and the end of what the plugin printed. It is a line of the module `plugin::crash`, so that
//! `log.filter` can leave it out, and the target's budget of log lines pays for it.

use std::fmt::Write as _;
use std::ops::Range;

use wasmtime::{PoolConcurrencyLimitError, WasmBacktrace};

use super::bindings::vendordock::vendordata::types as wit;
use super::call::{Call, OutOfTime};
use super::{AnswerError, Error, mask};

/// For `log.filter`.
const CRASHES: &str = "plugin::crash";

/// Names in Rust hold the types that a function was compiled for, and have no end.
const LONGEST_NAME: usize = 160;

/// Why a guest is gone.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Crash {
    cause: String,
    backtrace: String,
}

impl Crash {
    pub(super) fn new(error: &wasmtime::Error) -> Self {
        let mut backtrace = String::new();
        let frames = error
            .downcast_ref::<WasmBacktrace>()
            .map_or(&[][..], WasmBacktrace::frames);
        for (number, frame) in frames.iter().enumerate() {
            let offset = frame.module_offset().unwrap_or_default();
            let name = match frame.func_name() {
                Some(name) => shortened(format!("{:#}", rustc_demangle::demangle(name))),
                None => format!("function {} without a name", frame.func_index()),
            };
            // Writing to a string does not fail.
            let _ = writeln!(backtrace, "{number}: {name} at {offset:#x}");
        }
        Self {
            // The contexts are the backtrace, and where in our own code it came up.
            cause: error.root_cause().to_string(),
            backtrace: backtrace.trim_end().to_owned(),
        }
    }

    /// Writes the line. Of what the plugin printed, nothing that it was given in confidence: no credential of the target's, and
    /// no word of the request's user data and metadata.
    fn log(&self, call: &Call, request: Option<&wit::Request>) {
        let grants = &call.grants;
        let mask = grants.mask();
        let printed = call.tail.as_ref().map(|tail| {
            tail.text(|text| {
                let mut hidden = mask.find(text);
                if let Some(request) = request {
                    hidden.extend(of_tenant(text, request));
                }
                hidden
            })
        });
        let printed = printed.filter(|printed| !printed.is_empty());
        let length = self.backtrace.len() + printed.as_ref().map_or(0, String::len);
        if !grants.log.take(length) {
            return;
        }
        let Self { cause, backtrace } = self;
        tracing::error!(target: CRASHES, backtrace, printed, "the plugin was stopped: {cause}");
    }
}

/// What a call's end without a result means. `began` is whether the plugin ran at all.
pub(super) fn end(
    error: &wasmtime::Error,
    began: bool,
    call: &Call,
    request: Option<&wit::Request>,
) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::Busy;
    }
    let crash = Crash::new(error);
    if error.is::<OutOfTime>() {
        crash.log(call, request);
        return Error::Deadline;
    }
    if let Some(limit) = call.taken.limit_behind(error) {
        crash.log(call, request);
        let reached = call.grants.limits.reached(limit);
        return Error::Limit { reached, crash };
    }
    // Nothing of the plugin was running: it had returned, and what it returned is no string, no list, none of the cases.
    if began && crash.backtrace.is_empty() && !error.is::<wasmtime::Trap>() {
        return Error::Answer(AnswerError::Unreadable(crash.cause));
    }
    crash.log(call, request);
    Error::Trap(crash)
}

/// What the tenant wrote, where it stands in a text.
fn of_tenant(text: &str, request: &wit::Request) -> Vec<Range<usize>> {
    let instance = &request.instance;
    let values = instance
        .metadata
        .iter()
        .map(|(_key, value)| value.as_bytes());
    mask::find_words(text, values.chain(instance.user_data.as_deref()))
}

fn shortened(mut name: String) -> String {
    if name.len() > LONGEST_NAME {
        name.truncate(name.floor_char_boundary(LONGEST_NAME));
        name.push('…');
    }
    name
}
