//! A MIME message of pieces: the same bytes for the same pieces, today and tomorrow.
//!
//! Every piece has a file name of its own, since cloud-init writes the scripts of all sources into one directory. The name
//! begins with the place of the target and that of the piece: scripts run in the order of their names.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Piece, Share};

/// RFC 5322 allows 998.
const LONGEST_LINE: usize = 900;

/// RFC 2045 allows 76.
const BASE64_LINE: usize = 76;

/// How our own file names begin.
const OURS: &str = "vendordock-";

/// The whole message, or none when there is no piece.
pub(super) fn write(shares: &[Share]) -> Option<String> {
    let mut parts = Vec::new();
    for share in shares {
        for (index, piece) in share.pieces.iter().enumerate() {
            let file = file_name(share, index, piece);
            parts.push(part(piece, &file));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let boundary = boundary(&parts);
    let mut message =
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    for part in &parts {
        // Writing to a string does not fail.
        let _ = write!(message, "--{boundary}\n{part}\n");
    }
    let _ = writeln!(message, "--{boundary}--");
    Some(message)
}

/// `vendordock-0201-cloudstack-setup.sh`: unlike any other by its numbers.
fn file_name(share: &Share, index: usize, piece: &Piece) -> String {
    let target = share.target.as_str();
    // What was in a message of ours before has all that already.
    let name = match piece.name.strip_prefix(OURS) {
        Some(numbered) => numbered.split_once('-').map_or("", |(_numbers, name)| name),
        None => &piece.name,
    };
    let name = name.strip_prefix(target).unwrap_or(name);
    let name = name.trim_start_matches('-');
    let (place, number) = (share.place + 1, index + 1);
    let name = if name.is_empty() { "part" } else { name };
    format!("{OURS}{place:02}{number:02}-{target}-{name}")
}

fn part(piece: &Piece, file: &str) -> String {
    let (encoding, content) = encoded(&piece.content);
    let mut text = format!(
        "Content-Type: {}; charset=\"utf-8\"\n\
         Content-Transfer-Encoding: {encoding}\n\
         Content-Disposition: attachment; filename=\"{file}\"\n",
        piece.content_type
    );
    if let Some(merge_type) = &piece.merge_type {
        let _ = writeln!(text, "Merge-Type: {merge_type}");
    }
    let _ = write!(text, "\n{content}");
    text
}

/// Plain text stays readable, for whoever looks into /var/lib/cloud. Whatever a reader of mail might change is in base64.
fn encoded(content: &str) -> (&'static str, Cow<'_, str>) {
    let plain = content.is_ascii()
        && !content.contains('\r')
        && content.lines().all(|line| line.len() <= LONGEST_LINE);
    if plain {
        return ("7bit", content.into());
    }
    let encoded = BASE64_STANDARD.encode(content);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE);
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % BASE64_LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    ("base64", text.into())
}

/// A line that stands in none of the parts. A part that knew it could end itself and begin another one; it would have to
/// contain its own digest.
fn boundary(parts: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut digest = hash.finalize();
    loop {
        let hexadecimal: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let boundary = format!("={OURS}{hexadecimal}=");
        if !parts.iter().any(|part| part.contains(&boundary)) {
            return boundary;
        }
        digest = Sha256::digest(digest);
    }
}

#[cfg(test)]
mod tests;
