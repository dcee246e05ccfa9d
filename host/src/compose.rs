//! One text for cloud-init, of the parts of several plugins.
//!
//! Stock cloud-init reads one target, named `cloud-init`, and of its answer one JSON string: an object under that name is
//! ignored, a list breaks some releases, and scripts of one file name overwrite each other. So plugins give parts, typed
//! and named, and here they become one MIME message: each part checked, with a file name of its own, in a fixed order, and
//! byte for byte the same for the same parts. A guest asks once for each new instance, nova six times for one config drive.
//!
//! `content` knows what cloud-init takes a text for, `yaml` what it makes of a cloud-config, `part` checks, `unwrap` takes
//! apart (with `mime`) what was written for cloud-init without us, and `message` puts together. `explain` tells a person the same.

mod content;
pub mod explain;
mod message;
mod mime;
mod part;
mod unwrap;
mod yaml;

use bytes::Bytes;

use crate::config::TargetName;
use crate::plugin::Part;

pub use self::part::{Fault, MOST as MOST_PARTS, Piece};

/// One target's share of a message.
pub struct Share {
    /// Its place among those that the message is composed of.
    pub place: usize,
    /// The target.
    pub target: TargetName,
    /// What it gives, in its order.
    pub pieces: Vec<Piece>,
}

/// What of an answer is for cloud-init: the parts, then the text under `cloud-init` in its body, or the body that is such a
/// text. Each is checked.
///
/// # Errors
///
/// The first fault in one of them.
pub fn pieces(body: &[u8], parts: &[Part]) -> Result<Vec<Piece>, Fault> {
    let mut pieces = parts.iter().map(Piece::of).collect::<Result<Vec<_>, _>>()?;
    for text in unwrap::texts(body)? {
        pieces.extend(unwrap::pieces(&text)?);
    }
    if pieces.len() > part::MOST {
        return Err(Fault::TooMany(pieces.len()));
    }
    Ok(pieces)
}

/// The answer that nova gets: one JSON string, or null where there is nothing.
pub fn answer(shares: &[Share]) -> Bytes {
    match message::write(shares) {
        // A message is ASCII, and so is its JSON.
        Some(message) => serde_json::Value::from(message).to_string().into(),
        None => Bytes::from_static(b"null"),
    }
}
