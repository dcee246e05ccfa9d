//! Taking a MIME message apart.
//!
//! The library reads headers and transfer encodings. It would read whole messages too, but goes down with messages in
//! messages as deep as they are, and with them the stack of whoever drops the result: so parts are told apart here, to a depth
//! that nobody needs.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Message, MessageParser, MimeHeaders as _};

use super::part::{Fault, MOST};

/// cloud-init's own tools make one level.
const DEEPEST: usize = 4;

/// One part that is no multipart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) content_type: String,
    pub(super) name: Option<String>,
    pub(super) merge_type: Option<String>,
    /// None where it is no text.
    pub(super) content: Option<String>,
}

/// All parts of a message, in their order.
pub(super) fn read(message: &str) -> Result<Vec<Entity>, Fault> {
    let mut entities = Vec::new();
    read_part(message, 0, &mut entities)?;
    Ok(entities)
}

fn read_part(text: &str, depth: usize, entities: &mut Vec<Entity>) -> Result<(), Fault> {
    if depth > DEEPEST {
        return Err(Fault::Message);
    }
    let (headers, body) = head(text);
    let headers = headers.as_ref();
    let content_type = headers.and_then(|headers| headers.content_type());
    let kind = content_type.map_or("text", |content_type| content_type.ctype());
    if kind.eq_ignore_ascii_case("multipart") {
        // Without a boundary there is nothing in it, to cloud-init as to us.
        let boundary = content_type.and_then(|content_type| content_type.attribute("boundary"));
        for part in boundary.map_or_else(Vec::new, |boundary| parts(body, boundary)) {
            read_part(part, depth + 1, entities)?;
        }
        return Ok(());
    }
    // A message in a message: cloud-init would go on inside.
    if kind.eq_ignore_ascii_case("message") {
        return Err(Fault::Message);
    }
    if entities.len() >= MOST {
        return Err(Fault::TooMany(entities.len() + 1));
    }
    let encoding = headers.and_then(|headers| headers.content_transfer_encoding());
    let merge_type = ["merge-type", "x-merge-type"].iter().find_map(|name| {
        let mut headers = headers?.headers().iter();
        let header = headers.find(|header| header.name.as_str().eq_ignore_ascii_case(name))?;
        Some(header.value.as_text()?.to_owned())
    });
    let name = headers.and_then(|headers| headers.attachment_name());
    entities.push(Entity {
        content_type: content_type.map_or_else(
            || "text/plain".to_owned(),
            |content_type| {
                let subtype = content_type.subtype().unwrap_or("plain");
                format!("{kind}/{subtype}").to_ascii_lowercase()
            },
        ),
        name: name.map(str::to_owned),
        merge_type,
        content: decoded(body, encoding),
    });
    Ok(())
}

/// A part's headers, and what follows them.
fn head(text: &str) -> (Option<Message<'_>>, &str) {
    for end in ["\n", "\r\n"] {
        if let Some(body) = text.strip_prefix(end) {
            return (None, body);
        }
    }
    let end = [("\n\n", 2), ("\n\r\n", 3)]
        .iter()
        .filter_map(|(end, length)| Some((text.find(end)?, length)))
        .min();
    let (head, body) = match end {
        Some((at, length)) => (&text[..=at], &text[at + length..]),
        None => (text, ""),
    };
    (MessageParser::default().parse_headers(head), body)
}

/// What stands between the lines with the boundary. The line end before such a line belongs to it.
fn parts<'a>(body: &'a str, boundary: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut begin = None;
    let mut offset = 0;
    for line in body.split_inclusive('\n') {
        let at = offset;
        offset += line.len();
        let Some(rest) = line
            .strip_prefix("--")
            .and_then(|line| line.strip_prefix(boundary))
        else {
            continue;
        };
        let rest = rest.trim_end();
        if !matches!(rest, "" | "--") {
            continue;
        }
        if let Some(begin) = begin {
            parts.push(without_line_end(&body[begin..at]));
        }
        begin = Some(offset);
        if rest == "--" || parts.len() > MOST {
            return parts;
        }
    }
    if let Some(begin) = begin {
        parts.push(&body[begin..]);
    }
    parts
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn decoded(body: &str, encoding: Option<&str>) -> Option<String> {
    let encoding = encoding.unwrap_or_default().to_ascii_lowercase();
    let bytes: Cow<'_, [u8]> = match encoding.as_str() {
        "base64" => base64_decode(body.as_bytes())?.into(),
        "quoted-printable" => quoted_printable_decode(body.as_bytes())?.into(),
        _ => body.as_bytes().into(),
    };
    String::from_utf8(bytes.into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entities(body: &str) -> Vec<(String, String)> {
        let message = format!(
            "MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"b b\"\n\n{body}"
        );
        let entities = read(&message).expect("a message");
        entities
            .into_iter()
            .map(|entity| (entity.content_type, entity.content.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn parts_stand_between_boundaries_and_nowhere_else() {
        let part = |text: &str| ("text/plain".to_owned(), text.to_owned());

        assert_eq!(
            entities("before\n--b b\n\none\n\n--b b \n\n--b bx\n --b b\n--b b--\n--b b\n\nafter"),
            [part("one\n"), part("--b bx\n --b b")]
        );
        assert_eq!(entities("--b b\r\n\r\none\r\n--b b--\r\n"), [part("one")]);
        assert_eq!(
            entities("--b b\n\nwithout an end\n"),
            [part("without an end\n")]
        );
        assert_eq!(entities("nothing"), []);
    }

    #[test]
    fn encodings_are_undone() {
        let body = "--b b\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: Base64\n\nIyEv\nYmlu\nDQo=\n\
            --b b\nContent-Transfer-Encoding: quoted-printable\n\n=23!/bin=\n/sh\n--b b--";

        assert_eq!(
            entities(body),
            [
                ("text/x-shellscript".to_owned(), "#!/bin\r\n".to_owned()),
                ("text/plain".to_owned(), "#!/bin/sh".to_owned()),
            ]
        );
    }
}
