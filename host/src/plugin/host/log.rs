//! `log`: a plugin's lines in the gateway's log.
//!
//! A plugin writes what it likes, so a line is bounded in length and number, and stays text: message and fields are
//! values of ours, never names. A credential of the target's is covered wherever it stands.

mod budget;

use tracing::Level;

pub(in crate::plugin) use self::budget::{LogBudget, LogBudgets};
use crate::plugin::bindings::vendordock::vendordata::log;
use crate::plugin::call::{Call, Phase};
use crate::plugin::mask::Mask;

/// The module of a plugin's lines; for `log.filter`.
const PLUGIN: &str = "plugin";

const LONGEST_LINE_BYTES: usize = 1_024;

impl log::Host for Call {
    fn is_enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        self.allow("log.is-enabled", Phase::Validate)?;
        Ok(self.log.is_left() && is_enabled(level))
    }

    fn emit(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.allow("log.emit", Phase::Validate)?;
        if !is_enabled(level) {
            return Ok(());
        }
        if !self.log.is_left() {
            self.log.dropped += 1;
            return Ok(());
        }
        let (message, fields) = line(&self.grants.mask(), message, fields);
        let length = message.len() + fields.as_ref().map_or(0, String::len);
        let fields = fields.map(tracing::field::display);
        if !self.log.take(length) || !self.grants.log.take(length) {
            return Ok(());
        }
        // tracing fixes a line's level where it is written.
        match level {
            log::Level::Trace => tracing::trace!(target: PLUGIN, fields, "{message}"),
            log::Level::Debug => tracing::debug!(target: PLUGIN, fields, "{message}"),
            log::Level::Info => tracing::info!(target: PLUGIN, fields, "{message}"),
            log::Level::Warn => tracing::warn!(target: PLUGIN, fields, "{message}"),
            log::Level::Error => tracing::error!(target: PLUGIN, fields, "{message}"),
        }
        Ok(())
    }
}

impl Call {
    /// Says how many log lines of the call were left out.
    pub(in crate::plugin) fn report_dropped_lines(&self) {
        let dropped = self.log.dropped;
        if dropped > 0 && self.grants.log.take(0) {
            tracing::warn!(dropped, "the plugin logged more lines than one call may");
        }
    }
}

fn is_enabled(level: log::Level) -> bool {
    let level = match level {
        log::Level::Trace => Level::TRACE,
        log::Level::Debug => Level::DEBUG,
        log::Level::Info => Level::INFO,
        log::Level::Warn => Level::WARN,
        log::Level::Error => Level::ERROR,
    };
    level <= tracing::level_filters::LevelFilter::current()
}

/// The message as one line, and the fields as one JSON object. Both within what a line may have; fields that are too many
/// are left out whole, so that it stays JSON.
fn line(mask: &Mask, message: String, fields: Vec<(String, String)>) -> (String, Option<String>) {
    let mut message = covered(mask, message);
    if message.len() > LONGEST_LINE_BYTES {
        message.truncate(message.floor_char_boundary(LONGEST_LINE_BYTES));
        message.push('…');
    }
    let mut left = LONGEST_LINE_BYTES.saturating_sub(message.len());
    let mut members = Vec::new();
    for (name, value) in fields {
        let [name, value] = [name, value].map(|text| {
            // Not worth a search: whatever is covered in it, it is too long.
            let fits = text.len() <= LONGEST_LINE_BYTES;
            fits.then(|| serde_json::Value::from(covered(mask, text)).to_string())
        });
        let member = match (name, value) {
            (Some(name), Some(value)) => format!("{name}:{value}"),
            _ => "\"…\":\"…\"".to_owned(),
        };
        if member.len() >= left {
            members.push("\"…\":\"…\"".to_owned());
            break;
        }
        left -= member.len();
        members.push(member);
    }
    let fields = (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")));
    (message, fields)
}

/// A text without the target's secrets. Of a text that is far too long, the part that could be shown and the length of a secret.
fn covered(mask: &Mask, mut text: String) -> String {
    const LONGEST_LOOKED_AT: usize = 16 * LONGEST_LINE_BYTES;
    if text.len() > LONGEST_LOOKED_AT {
        text.truncate(text.floor_char_boundary(LONGEST_LOOKED_AT));
    }
    // A new line would let a plugin write lines that look like ours.
    mask.covered(text).replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, fields: &[(&str, &str)]) -> String {
        let mask = Mask::new([b"hunter2".as_slice().into()]);
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let (message, fields) = line(&mask, message.to_owned(), fields.collect());
        format!("{message} {}", fields.unwrap_or_default())
    }

    #[test]
    fn a_plugin_cannot_forge_a_line_or_a_field() {
        insta::assert_snapshot!(
            written("ok\n2026-11-20 ERROR all is lost", &[("a\" b=", "1\n\"2\u{1b}[31m")]),
            @r#"ok 2026-11-20 ERROR all is lost {"a\" b=":"1 \"2 [31m"}"#
        );
    }

    #[test]
    fn a_line_has_an_end_and_its_fields_stay_json() {
        let long = "ä".repeat(10_000);
        for (message, fields) in [
            (&*long, vec![("a", "b")]),
            ("much", vec![("k", &*long); 100]),
            ("many", vec![("k", "value"); 1_000]),
        ] {
            let mask = Mask::new([]);
            let given = fields
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            let (message, fields) = line(&mask, message.to_owned(), given.collect());
            let fields = fields.expect("at least that there were some");
            assert!(message.len() <= LONGEST_LINE_BYTES + "…".len());
            assert!(fields.len() <= 2 * LONGEST_LINE_BYTES, "{fields}");
            let read: serde_json::Value = serde_json::from_str(&fields).expect("JSON");
            assert_eq!(read["…"], "…");
        }
    }

    #[test]
    fn a_credential_of_the_target_is_covered_also_where_the_line_is_cut() {
        let blank = "x".repeat(LONGEST_LINE_BYTES - 4);
        for written in [
            written("logged in with hunter2", &[("password", "hunter2")]),
            written(&format!("{blank}hunter2"), &[]),
            written("m", &[("hunter2", "as a name")]),
        ] {
            assert!(!written.contains("hunt"), "{written}");
            assert!(written.contains("***"), "{written}");
        }
    }
}
