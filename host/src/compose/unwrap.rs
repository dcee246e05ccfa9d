//! What was written for cloud-init without us, taken apart: so that it gets file names of its own and joins others.
//!
//! Services that nova asks already answer with such texts, in the target `cloud-init` as a string, or by mistake as
//! `{"cloud-init": "..."}`, which cloud-init ignores there.

use serde::Deserialize;
use serde_json::Value;

use super::part::{Fault, MOST, Piece, Reason, clean};
use super::yaml::{self, Node};
use super::{content, mime};

/// How much of a text cloud-init searches for the line that says MIME.
const SEARCHED_BYTES: usize = 4096;

/// One part as it was found, good or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) content_type: String,
    pub(super) name: Option<String>,
    pub(super) merge_type: Option<String>,
    /// None where it is no text.
    pub(super) content: Option<String>,
}

/// The texts in an answer's body: the string that it is, or those under `cloud-init` in it.
pub(super) fn texts(body: &[u8]) -> Result<Vec<String>, Fault> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        Text(String),
        Object {
            #[serde(rename = "cloud-init", default)]
            inner: Value,
        },
        Null,
    }

    // It was checked when it was answered.
    let text = |value| match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        Value::Bool(_) => Err(Fault::NotText("true or false")),
        Value::Number(_) => Err(Fault::NotText("a number")),
        Value::Array(_) => Err(Fault::NotText("a list")),
        Value::Object(_) => Err(Fault::NotText("an object")),
    };
    let texts = match serde_json::from_slice(body) {
        Ok(Body::Text(text)) => vec![Some(text)],
        Ok(Body::Object {
            inner: Value::Array(values),
        }) => values.into_iter().map(text).collect::<Result<_, _>>()?,
        Ok(Body::Object { inner }) => vec![text(inner)?],
        Ok(Body::Null) | Err(_) => Vec::new(),
    };
    let texts = texts.into_iter().flatten();
    Ok(texts.filter(|text| !text.trim().is_empty()).collect())
}

/// The pieces of a text, each checked.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let pieces = split(text)?.into_iter().map(Found::checked);
    pieces.collect()
}

impl Found {
    pub(super) fn checked(self) -> Result<Piece, Fault> {
        let name = clean(self.name.as_deref().unwrap_or_default());
        let Some(content) = self.content else {
            let reason = Reason::Binary;
            return Err(Fault::Part { name, reason });
        };
        Piece::checked(self.content_type.into(), name, self.merge_type, content)
    }
}

/// The parts of a text as cloud-init finds them.
pub(super) fn split(text: &str) -> Result<Vec<Found>, Fault> {
    if says_mime(text) {
        return message(text);
    }
    match content::by_beginning(text) {
        Some(content::CLOUD_CONFIG_ARCHIVE) => archive(text),
        Some(content_type) => Ok(vec![Found {
            content_type: content_type.to_owned(),
            name: None,
            merge_type: None,
            content: Some(text.to_owned()),
        }]),
        None => Err(Fault::Unknown),
    }
}

/// Whether cloud-init takes a text for a message.
pub(super) fn says_mime(text: &str) -> bool {
    let searched = &text.as_bytes()[..text.len().min(SEARCHED_BYTES)];
    let line = b"mime-version:";
    searched
        .windows(line.len())
        .any(|window| window.eq_ignore_ascii_case(line))
}

fn message(text: &str) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for entity in mime::read(text)? {
        let content = entity.content;
        let content_type = match &content {
            Some(content) => content::by_type_and_beginning(&entity.content_type, content),
            None => entity.content_type,
        };
        if content_type == content::CLOUD_CONFIG_ARCHIVE {
            found.extend(archive(content.as_deref().unwrap_or_default())?);
            continue;
        }
        found.push(Found {
            content_type,
            name: entity.name,
            merge_type: entity.merge_type,
            content,
        });
    }
    if found.len() > MOST {
        return Err(Fault::TooMany(found.len()));
    }
    Ok(found)
}

/// A list of texts, or of tables with `content`, `type` and `filename`.
fn archive(text: &str) -> Result<Vec<Found>, Fault> {
    let fault = |reason| Fault::Part {
        name: "cloud-config-archive".to_owned(),
        reason,
    };
    let Node::List(entries) = yaml::read(text).map_err(|error| fault(error.into()))? else {
        return Err(fault(Reason::NoList));
    };
    let mut found = Vec::new();
    for entry in entries {
        let (content, content_type, name) = match entry {
            Node::Scalar(content) => (content, None, None),
            Node::Mapping(members) => {
                let mut entry = (String::new(), None, None);
                for (key, value) in members {
                    match (&*key, value) {
                        ("content", Node::Scalar(text)) => entry.0 = text,
                        ("type", Node::Scalar(text)) => entry.1 = Some(text),
                        ("filename", Node::Scalar(text)) => entry.2 = Some(text),
                        ("content" | "type" | "filename", _) => return Err(fault(Reason::NoList)),
                        _ => {}
                    }
                }
                entry
            }
            _ => return Err(fault(Reason::NoList)),
        };
        let by_beginning = || content::by_beginning(&content).unwrap_or(content::CLOUD_CONFIG);
        let content_type = content_type.map_or_else(
            || by_beginning().to_owned(),
            |said| content::by_type_and_beginning(&said.to_ascii_lowercase(), &content),
        );
        found.push(Found {
            content_type,
            name,
            merge_type: None,
            content: Some(content),
        });
    }
    if found.len() > MOST {
        return Err(Fault::TooMany(found.len()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
