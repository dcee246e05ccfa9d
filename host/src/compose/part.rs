//! One piece of a message, checked for what cloud-init would trip over, drop, or never look at.

use std::borrow::Cow;

use serde_json::Value;
use url::Url;

use super::content;
use super::yaml::{self, Node};
use crate::plugin::{Part, PartKind};

/// The parts of one target; their file names count them with two digits.
pub const MOST: usize = 64;

/// Of a file name, beside what makes it unique.
const LONGEST_NAME: usize = 64;

/// How parts of cloud-config are joined: lists grow, and what an earlier part has set stays. cloud-init's own way is that a
/// later part's `runcmd` replaces an earlier one's.
pub(super) const MERGE_TYPE: &str = "list(append)+dict(no_replace,recurse_list)+str()";

/// What cloud-init is to handle as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The MIME type, by which cloud-init chooses a handler.
    pub(super) content_type: Cow<'static, str>,
    /// A file name: letters, digits, `-`, `_` and `.`; empty when there is none.
    pub(super) name: String,
    /// How cloud-init is to join it with what came before, where it does not say itself.
    pub(super) merge_type: Option<Cow<'static, str>>,
    /// With its first line.
    pub(super) content: String,
}

/// Why a piece is not handed on. No text has anything of the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody has that many.
    #[error("it has {0} parts for cloud-init, and {MOST} are the most")]
    TooMany(usize),
    /// The body is not what it is for this kind of target.
    #[error("what it has for cloud-init is {0}, where a string belongs")]
    NotText(&'static str),
    /// A text that cloud-init would log as unhandled.
    #[error("a text for cloud-init does not begin with a line that cloud-init knows")]
    Unknown,
    /// A message that is broken.
    #[error("a text for cloud-init is no MIME message, although it begins as one")]
    Message,
    /// One part.
    #[error("part {name:?} for cloud-init: {reason}")]
    Part {
        /// Its file name, cleaned.
        name: String,
        /// What is wrong.
        reason: Reason,
    },
}

/// What is wrong with one part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// cloud-init takes text only, in this place.
    #[error("it is not UTF-8 text")]
    Binary,
    /// NUL and its like.
    #[error("it has the control character U+{0:04X}")]
    Control(u32),
    /// A script that nothing could run.
    #[error("it does not begin with `#!`")]
    NoInterpreter,
    /// Two kinds at once.
    #[error("it begins as {0} does, which is another kind")]
    OtherKind(&'static str),
    /// It would be dropped.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// cloud-config is `key: value`.
    #[error("it is YAML, and no mapping")]
    NoMapping,
    /// An archive is a list of texts and tables.
    #[error("it is YAML, and no list of parts")]
    NoList,
    /// One of the values that end cloud-init's first stage.
    #[error("`{0}` has a value at which cloud-init stops")]
    Stops(&'static str),
    /// A URL that cloud-init would fail at, and with it the boot.
    #[error("line {0} is not an http or https URL")]
    Url(usize),
    /// Nothing to fetch.
    #[error("it has no URL")]
    NoUrl,
    /// A patch that is none.
    #[error("it is no JSON patch")]
    Patch,
    /// After the line that says jinja there is nothing to handle.
    #[error(
        "after its first line does not stand what cloud-init renders: cloud-config, a script or a boothook"
    )]
    Template,
    /// Text that nothing says the kind of.
    #[error("neither its MIME type nor its first line says what it is")]
    Unhandled,
    /// Not a type.
    #[error("its MIME type is none")]
    Type,
}

impl Piece {
    /// A plugin's own part. The line that says its kind is added where the plugin has left it out.
    pub(super) fn of(part: &Part) -> Result<Self, Fault> {
        let name = clean(&part.name);
        let fault = |reason| Fault::Part {
            name: name.clone(),
            reason,
        };
        let text = part.content.trim_start();
        let content_type = content_type(part.kind);
        let found = content::by_beginning(text);
        let content = match (part.kind, found) {
            (_, Some(found)) if found == content_type => text.to_owned(),
            (PartKind::Script, None) => return Err(fault(Reason::NoInterpreter)),
            // A boothook is a script too, and its author may know of that line only.
            (PartKind::Boothook, Some(content::SCRIPT)) => with_beginning(content_type, text),
            (PartKind::CloudConfigJinja, Some(content::CLOUD_CONFIG)) => {
                with_beginning(content_type, text)
            }
            (PartKind::CloudConfigJinja, None) => {
                with_beginning(content_type, &with_beginning(content::CLOUD_CONFIG, text))
            }
            (_, None) => with_beginning(content_type, text),
            (_, Some(found)) => {
                let beginning = content::beginning(found).unwrap_or_default();
                return Err(fault(Reason::OtherKind(beginning)));
            }
        };
        let piece = Self::checked(content_type.into(), name.clone(), None, content)?;
        let template = content::after(&piece.content, "## template: jinja");
        if part.kind == PartKind::CloudConfigJinja
            && content::by_beginning(template) != Some(content::CLOUD_CONFIG)
        {
            return Err(fault(Reason::Template));
        }
        Ok(piece)
    }

    /// A piece of this type, once nothing is wrong with it.
    pub(super) fn checked(
        content_type: Cow<'static, str>,
        name: String,
        merge_type: Option<String>,
        content: String,
    ) -> Result<Self, Fault> {
        let mut piece = Self {
            merge_type: None,
            content: content.trim_start().to_owned(),
            content_type,
            name,
        };
        match piece.check() {
            Ok(joins_itself) => {
                let own =
                    merge_type.filter(|own| own.bytes().all(|byte| matches!(byte, b' '..=b'~')));
                let mergeable = [content::CLOUD_CONFIG, content::JINJA];
                if let Some(own) = own {
                    piece.merge_type = Some(own.into());
                } else if !joins_itself && mergeable.contains(&&*piece.content_type) {
                    piece.merge_type = Some(MERGE_TYPE.into());
                }
                Ok(piece)
            }
            Err(reason) => Err(Fault::Part {
                name: piece.name,
                reason,
            }),
        }
    }

    /// Whether it says itself how it is joined with others, unless something is wrong.
    fn check(&mut self) -> Result<bool, Reason> {
        if self.content.trim().is_empty() {
            return Err(Reason::Empty);
        }
        let control = |character: &char| {
            character.is_control() && !matches!(character, '\t' | '\n' | '\r')
                || *character == '\u{feff}'
        };
        if let Some(control) = self.content.chars().find(control) {
            return Err(Reason::Control(control.into()));
        }
        match &*self.content_type {
            content::CLOUD_CONFIG => check_cloud_config(&self.content),
            content::JINJA => check_template(&self.content),
            content::INCLUDE | content::INCLUDE_ONCE => check_urls(&self.content),
            content::CLOUD_CONFIG_JSONP => {
                let beginning = "#cloud-config-jsonp";
                match serde_json::from_str(content::after(&self.content, beginning)) {
                    Ok(Value::Array(_)) => Ok(false),
                    _ => Err(Reason::Patch),
                }
            }
            content::BOOTHOOK => {
                let beginning = "#cloud-boothook";
                // cloud-init takes this line away in this spelling only, and runs the rest.
                if content::by_beginning(&self.content) == Some(content::BOOTHOOK) {
                    let rest = content::after(&self.content, beginning);
                    self.content = format!("{beginning}{rest}");
                }
                let script = self.content.strip_prefix(beginning);
                let script = script.unwrap_or(&self.content);
                if script.trim_start().starts_with("#!") {
                    Ok(false)
                } else {
                    Err(Reason::NoInterpreter)
                }
            }
            content_type
                if content_type == content::SCRIPT
                    || content::SCRIPTS_BY_TYPE.contains(&content_type) =>
            {
                if self.content.starts_with("#!") {
                    Ok(false)
                } else {
                    Err(Reason::NoInterpreter)
                }
            }
            "text/plain" | "text/x-not-multipart" => Err(Reason::Unhandled),
            content_type if is_type(content_type) => Ok(false),
            _ => Err(Reason::Type),
        }
    }
}

/// A MIME type as it stands in a header, with nothing after it.
fn is_type(content_type: &str) -> bool {
    let token = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !text.is_empty() && text.len() <= 127 && text.bytes().all(plain)
    };
    content_type
        .split_once('/')
        .is_some_and(|(kind, name)| token(kind) && token(name) && kind != "multipart")
}

fn content_type(kind: PartKind) -> &'static str {
    match kind {
        PartKind::CloudConfig => content::CLOUD_CONFIG,
        PartKind::CloudConfigJinja => content::JINJA,
        PartKind::Script => content::SCRIPT,
        PartKind::Boothook => content::BOOTHOOK,
        PartKind::IncludeUrls => content::INCLUDE,
        PartKind::IncludeUrlsOnce => content::INCLUDE_ONCE,
    }
}

fn with_beginning(content_type: &str, text: &str) -> String {
    let beginning = content::beginning(content_type).unwrap_or_default();
    format!("{beginning}\n{text}")
}

/// Whether the part says how it is joined, unless cloud-init would drop it or stop at it.
fn check_cloud_config(text: &str) -> Result<bool, Reason> {
    // PyYAML refuses these two, which are no control characters.
    if let Some(odd) = text
        .chars()
        .find(|odd| matches!(odd, '\u{fffe}' | '\u{ffff}'))
    {
        return Err(Reason::Control(odd.into()));
    }
    let Node::Mapping(members) = yaml::read(text)? else {
        return Err(Reason::NoMapping);
    };
    let mut joins_itself = false;
    for (key, value) in &members {
        match (key.as_str(), value) {
            ("write_files", Node::Null) => return Err(Reason::Stops("write_files")),
            ("random_seed", value) if !matches!(value, Node::Mapping(_) | Node::Alias) => {
                return Err(Reason::Stops("random_seed"));
            }
            ("merge_how" | "merge_type", _) => joins_itself = true,
            _ => {}
        }
    }
    Ok(joins_itself)
}

/// What a template becomes is known in the guest only.
fn check_template(text: &str) -> Result<bool, Reason> {
    let rest = content::after(text, "## template: jinja");
    let renders = [content::CLOUD_CONFIG, content::SCRIPT, content::BOOTHOOK];
    // The template's first line may go on, and a template may begin with its own statements.
    let known = rest.contains("{%")
        || content::by_beginning(rest).is_some_and(|found| renders.contains(&found));
    if !known {
        return Err(Reason::Template);
    }
    let own = ["merge_how:", "merge_type:"];
    Ok(text
        .lines()
        .any(|line| own.iter().any(|key| line.starts_with(key))))
}

/// Read as cloud-init does. A URL that cannot be had ends the boot's first stage, so at least it has to be one.
fn check_urls(text: &str) -> Result<bool, Reason> {
    let mut any = false;
    for (index, line) in text.lines().enumerate() {
        let line = match content::by_beginning(line) {
            Some(content::INCLUDE_ONCE) => content::after(line, "#include-once"),
            Some(content::INCLUDE) => content::after(line, "#include"),
            _ => line,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let url = Url::parse(line).map_err(|_none| Reason::Url(index + 1))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Reason::Url(index + 1));
        }
        any = true;
    }
    if any { Ok(false) } else { Err(Reason::NoUrl) }
}

/// What of a name is good in a file name and in a header.
pub(super) fn clean(name: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.') {
            character
        } else {
            '_'
        }
    };
    let cleaned: String = name.chars().take(LONGEST_NAME).map(plain).collect();
    cleaned.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
