//! The file as text, and where in it a mistake is.
//!
//! serde stops at the first mistake. An operator who fixes a file at night wants all of them at once, so a
//! mistake is noted, the entry at fault is cut out, and the rest is read again until it reads
//! through. That costs one pass for each mistake, once, at start.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1; none where a mistake has no place, such as a table that is not there.
    pub line: Option<usize>,
    /// The key with its tables, `targets.join.timeout_ms`; empty for the whole file.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Fault {
    /// A mistake of the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            line: None,
            key: String::new(),
            message: message.into(),
        }
    }
}

/// A configuration file as it was read.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// A file's path and its text.
    pub fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Where relative paths in the file start.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The file itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the text as a `T`.
    ///
    /// # Errors
    ///
    /// All mistakes, in the order of their lines.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Vec<Fault>> {
        let (mut root, errors) = DeTable::parse_recoverable(&self.text);
        let mut faults: Vec<Fault> = errors
            .iter()
            .map(|error| Fault {
                line: error.span().map(|span| self.line_at(span.start)),
                key: String::new(),
                message: error.message().to_owned(),
            })
            .collect();
        if !faults.is_empty() {
            // What does not parse was guessed at; to check the guess would report mistakes nobody made.
            faults.dedup_by_key(|fault| fault.line);
            return Err(faults);
        }
        let mut cut: Vec<String> = Vec::new();
        loop {
            let error = match T::deserialize(Deserializer::from(root.clone())) {
                Ok(value) if faults.is_empty() => return Ok(value),
                Ok(_) => break,
                Err(error) => error,
            };
            let path = error.span().and_then(|span| cut_out(root.get_mut(), &span));
            let key = path.clone().unwrap_or_default();
            // A key that was cut out is then missed by its table. That is no mistake of the operator's.
            let caused_by_cut = missing_field(error.message())
                .is_some_and(|field| cut.contains(&joined(&key, field)));
            if !caused_by_cut {
                faults.push(Fault {
                    line: error.span().map(|span| self.line_at(span.start)),
                    message: in_plain_words(error.message()),
                    key,
                });
            }
            match path {
                Some(path) => cut.push(path),
                // Nothing left that could be cut out and tried again.
                None => break,
            }
        }
        faults.sort_by_key(|fault| fault.line);
        Err(faults)
    }

    /// A mistake at a key.
    pub fn fault(&self, path: &[&str], message: impl Into<String>) -> Fault {
        Fault {
            line: self.line_of(path),
            key: path.join("."),
            message: message.into(),
        }
    }

    /// The line of the deepest key of `path` that the file has.
    pub fn line_of(&self, path: &[&str]) -> Option<usize> {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let mut table = root.get_ref();
        let mut line = None;
        for name in path {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
                break;
            };
            line = Some(self.line_at(key.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        line
    }

    /// Whether the file has this key.
    pub fn has(&self, path: &[&str]) -> bool {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let mut table = Some(root.get_ref());
        path.iter().all(|name| {
            let value = table.and_then(|table| table.get(*name));
            table = value.and_then(|value| value.get_ref().as_table());
            value.is_some()
        })
    }

    /// The keys of a table; nothing where no table stands there, or where the file is not TOML.
    pub fn keys(&self, path: &[&str]) -> Option<Vec<String>> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let mut table = errors.is_empty().then(|| root.get_ref())?;
        for name in path {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        Some(table.keys().map(|key| key.get_ref().to_string()).collect())
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// Removes the entry at fault and tells its path.
fn cut_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    // A table's own span is its header alone, so the place must match before containing will do.
    cut_where(table, &|found| found == span).or_else(|| {
        cut_where(table, &|found| {
            found.start <= span.start && span.end <= found.end
        })
    })
}

fn cut_where(table: &mut DeTable<'_>, is_it: &dyn Fn(&Range<usize>) -> bool) -> Option<String> {
    for (key, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(path) = cut_where(inner, is_it)
        {
            return Some(joined(key.get_ref(), &path));
        }
    }
    let key: Spanned<_> = table
        .iter()
        .find(|(key, value)| is_it(&key.span()) || is_it(&value.span()))
        .map(|(key, _)| key.clone())?;
    table.remove(&key);
    Some(key.get_ref().to_string())
}

fn joined(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

/// The field that serde misses, by its message: it has no other way to tell.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

fn in_plain_words(message: &str) -> String {
    if let Some(field) = missing_field(message) {
        return format!("the key `{field}` is missing");
    }
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.to_owned();
    };
    // "unknown field `a`, expected one of `b`, `c`": every second piece is a name.
    let names: Vec<&str> = rest.split('`').step_by(2).collect();
    let (unknown, known) = match names.split_first() {
        Some((unknown, known)) => (*unknown, known),
        None => return message.to_owned(),
    };
    let close = known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match close {
        Some((_, name)) => format!("unknown key `{unknown}`; did you mean `{name}`?"),
        None => {
            let mut known = known.to_vec();
            known.retain(|name| !name.is_empty());
            known.sort_unstable();
            format!("unknown key `{unknown}`; known here: {}", known.join(", "))
        }
    }
}
