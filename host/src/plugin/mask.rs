//! What must not be read in a plugin's own words.
//!
//! What a plugin prints when it dies is its author's best help, and it may hold whatever the plugin had in its hands: a
//! credential that was revealed to it, the tenant's user data, metadata. So both are looked for before a text is
//! logged. A secret is looked for in the forms in which programs print one. Of a tenant's data, which may be long and is
//! seldom printed whole, each word is: rather a word too many is hidden than one too few.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use memchr::memmem;

use crate::egress::SecretVersion;

/// What stands where something was hidden.
const COVER: &str = "***";

/// In base64, and as one line of many, a shorter piece of a secret would be found everywhere.
const SHORTEST_PIECE_BYTES: usize = 8;

/// A longer one is taken apart.
const LONGEST_PIECE_BYTES: usize = 256;

/// What comes after is not looked for: not more than this is shown of what a plugin printed.
const LONGEST_SECRET_BYTES: usize = 16 * 1024;

/// Words of a tenant's that are shorter are nobody's secret, and stand in every text.
const SHORTEST_WORD_BYTES: usize = 4;

/// Shorter ones stand in any base64.
const SHORTEST_ENCODED_BYTES: usize = 12;

/// The secrets of one target, in all their forms.
pub(super) struct Mask(Option<AhoCorasick>);

/// The mask of a target, as long as its secrets are the same. It is made when a text is to be logged, not with each rotation
/// or call: few of them have one.
#[derive(Default)]
pub(super) struct CurrentMask(Mutex<Option<(Vec<String>, Arc<Mask>)>>);

impl CurrentMask {
    /// The mask of these secrets.
    pub(super) fn get(&self, secrets: &[Arc<SecretVersion>]) -> Arc<Mask> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((versions, mask)) = &*made
            && versions.iter().eq(secrets.iter().map(|secret| secret.id()))
        {
            return mask.clone();
        }
        let versions = secrets.iter().map(|secret| secret.id().to_owned());
        let bytes = secrets.iter().flat_map(|secret| secret.secrets());
        let mask = Arc::new(Mask::new(bytes.map(Cow::Borrowed)));
        *made = Some((versions.collect(), mask.clone()));
        mask
    }
}

impl Mask {
    /// For these secrets. Without any it finds nothing.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = Cow<'a, [u8]>>) -> Self {
        let mut patterns = Vec::new();
        for secret in secrets {
            let secret = &secret[..secret.len().min(LONGEST_SECRET_BYTES)];
            let lines = secret.split(|byte| matches!(byte, b'\n' | b'\r'));
            let lines = lines.filter(|line| line.len() >= SHORTEST_PIECE_BYTES);
            for piece in lines.chain([secret]).flat_map(pieces) {
                patterns.extend(forms(piece));
            }
        }
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            return Self(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // Hexadecimal digits come in both cases.
            .ascii_case_insensitive(true)
            .build(&patterns);
        Self(Some(automaton.expect(
            "the patterns have fewer bytes than an automaton may have states",
        )))
    }

    /// Where one of them stands in a text.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let found = self.0.iter().flat_map(|secrets| secrets.find_iter(text));
        found.map(|found| found.range()).collect()
    }

    /// A text without them.
    pub(super) fn covered(&self, text: String) -> String {
        let found = self.find(&text);
        if found.is_empty() {
            text
        } else {
            cover(&text, 0, found)
        }
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mask")
    }
}

/// A text from here on, with something else where the ranges are.
pub(super) fn cover(text: &str, from: usize, mut hidden: Vec<Range<usize>>) -> String {
    hidden.sort_unstable_by_key(|range| range.start);
    let mut covered = String::with_capacity(text.len() - from);
    let mut at = from;
    for range in hidden {
        // A form that is no text may begin or end within a character.
        let start = text.floor_char_boundary(range.start);
        let end = text.ceil_char_boundary(range.end);
        if end <= at {
            continue;
        }
        covered.push_str(text.get(at..start).unwrap_or_default());
        if start > at || !covered.ends_with(COVER) {
            covered.push_str(COVER);
        }
        at = end;
    }
    covered + &text[at..]
}

/// Where words of a tenant's stand in a text: those of `data`, and what is part of its base64.
pub(super) fn find_words<'a>(
    text: &str,
    data: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Range<usize>> {
    let (mut known, mut encoded) = (HashSet::new(), String::new());
    for data in data {
        let data = String::from_utf8_lossy(data);
        known.extend(words(&data).map(|word| data[word].to_lowercase()));
        // As nova sent it, and as a program may have written it.
        encoded.push_str(&BASE64_STANDARD.encode(&*data));
        encoded.push('\n');
    }
    let is_known = |word: &str| {
        word.len() >= SHORTEST_WORD_BYTES && known.contains(&word.to_lowercase())
            || word.len() >= SHORTEST_ENCODED_BYTES
                && memmem::find(encoded.as_bytes(), word.as_bytes()).is_some()
    };
    words(text)
        .filter(|word| is_known(&text[word.clone()]))
        .collect()
}

/// A secret as it is, or a long one in equal pieces: what an automaton costs grows faster than its patterns.
fn pieces(secret: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = secret.len().div_ceil(LONGEST_PIECE_BYTES).max(1);
    secret.chunks(secret.len().div_ceil(count).max(1))
}

/// Letters and digits that stand together, but for those of an escape: `\n` in a text that was printed with quotes.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = None;
    let mut escaped = false;
    let mut characters = text.char_indices().chain([(text.len(), ' ')]);
    std::iter::from_fn(move || {
        for (at, character) in characters.by_ref() {
            let in_word = character.is_alphanumeric() && !escaped;
            escaped = character == '\\' && !escaped;
            match (in_word, start) {
                (true, None) => start = Some(at),
                (false, Some(first)) => {
                    start = None;
                    return Some(first..at);
                }
                _ => {}
            }
        }
        None
    })
}

/// The forms in which a program may print some bytes.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let hexadecimal: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(secret).collect();
    let mut forms = vec![
        secret.to_vec(),
        form.replace('+', "%20").into_bytes(),
        form.into_bytes(),
        hexadecimal.into_bytes(),
    ];
    if secret.len() >= SHORTEST_PIECE_BYTES {
        forms.push(numbers.join(", ").into_bytes());
        forms.push(numbers.join(",").into_bytes());
        for before in 0..3 {
            forms.extend(within_base64(secret, before));
        }
    }
    if let Ok(text) = str::from_utf8(secret) {
        // As in JSON, and as Rust and Python print a text.
        let json = serde_json::Value::from(text).to_string();
        let debug = format!("{text:?}");
        for quoted in [json, debug] {
            forms.push(quoted[1..quoted.len() - 1].into());
        }
        forms.push(text.escape_default().to_string().into());
        // Where a `+` stands for a blank and nothing else is done, or only the worst is encoded.
        forms.push(text.replace(' ', "%20").into());
        forms.push(text.replace(' ', "+").into());
    }
    forms
}

/// What of the base64 of a longer text depends on the secret alone, when it stands this many bytes after a whole group of
/// three: `user:secret` of a basic authentication, say.
fn within_base64(secret: &[u8], before: usize) -> [Vec<u8>; 2] {
    let longer = [&vec![0; before], secret].concat();
    let first = (before * 8).div_ceil(6);
    let last = longer.len() * 8 / 6;
    [
        BASE64_STANDARD.encode(&longer),
        BASE64_URL_SAFE.encode(&longer),
    ]
    .map(|text| text.as_bytes()[first..last].to_vec())
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|secret| secret.as_bytes().into()))
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_programs_print() {
        let mask = mask(&["p&ss \"wörd\"=1"]);
        let user = BASE64_STANDARD.encode("alice:p&ss \"wörd\"=1");
        for text in [
            "p&ss \"wörd\"=1",
            r#"p&ss \"wörd\"=1"#,
            r#"p&ss \"w\u{f6}rd\"=1"#,
            "p%26ss+%22w%C3%B6rd%22%3D1",
            "p%26ss%20%22w%c3%b6rd%22%3d1",
            "702673732022 77c3b67264223d31".replace(' ', "").as_str(),
            "[112, 38, 115, 115, 32, 34, 119, 195, 182, 114, 100, 34, 61, 49]",
            "112,38,115,115,32,34,119,195,182,114,100,34,61,49",
            &user,
        ] {
            let covered = mask.covered(format!("before {text} after"));
            assert!(covered.contains(COVER), "{covered}");
            assert!(covered.starts_with("before ") && covered.ends_with(" after"));
        }
        assert_eq!(
            mask.covered("user=p&ss \"wörd\"=1.".to_owned()),
            "user=***."
        );
    }

    #[test]
    fn base64_hides_a_secret_wherever_it_begins() {
        let secret = "correct horse battery";
        let mask = mask(&[secret]);
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy"] {
                let text = BASE64_STANDARD.encode(format!("{before}{secret}{after}"));
                let covered = mask.covered(text.clone());
                // What is left are the characters that it shares with its neighbours.
                let left = covered.replace(COVER, "").len();
                assert!(left <= before.len() * 2 + 6, "{text} {covered}");
            }
        }
    }

    #[test]
    fn each_long_line_of_a_key_is_a_secret_and_no_secret_hides_nothing() {
        let key = mask(&["-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nab\n"]);
        assert_eq!(
            key.covered("it was MIIEvQIBADANBgkq!".to_owned()),
            "it was ***!"
        );
        assert_eq!(key.covered("ab".to_owned()), "ab");
        assert_eq!(mask(&[]).covered("all of it".to_owned()), "all of it");
        assert_eq!(mask(&[""]).covered("all of it".to_owned()), "all of it");
        assert_eq!(format!("{key:?}"), "Mask");
    }

    #[test]
    fn a_long_secret_is_found_whole_wherever_it_begins() {
        use std::fmt::Write as _;
        let mut secret = String::new();
        for number in 0_u32..4_000 {
            let _ = write!(secret, "{:x}", number.wrapping_mul(2_654_435_761));
        }
        let mask = mask(&[&secret, &secret[..1_000].repeat(20)]);
        let seen = &secret[..LONGEST_SECRET_BYTES];

        let covered = mask.covered(format!("before {seen} after"));
        assert_eq!(covered, "before *** after");
        let encoded = BASE64_STANDARD.encode(format!("a{seen}"));
        let left = mask.covered(encoded).replace(COVER, "").len();
        assert!(left < 3 * LONGEST_SECRET_BYTES / 128, "{left}");
    }

    #[test]
    fn words_of_the_tenant_are_hidden_and_the_rest_is_not() {
        let user_data = b"#cloud-config\npassword: hunter2\n";
        let text = "Traceback:\n  in join: bad data b'#cloud-config\\npassword: hunter2\\n' at 7";
        let hidden = find_words(text, [&user_data[..]]);
        assert_eq!(
            cover(text, 0, hidden),
            "Traceback:\n  in join: bad data b'#***-***\\n***: ***\\n' at 7"
        );
        let sent = BASE64_STANDARD.encode(user_data);
        let hidden = find_words(&sent, [&user_data[..]]);
        assert_eq!(cover(&sent, 0, hidden).trim_end_matches('='), COVER);
    }

    #[test]
    fn ranges_that_overlap_or_split_a_character_cover_it_all() {
        assert_eq!(cover("aäbcd", 0, vec![2..4, 1..3]), "a***cd");
        assert_eq!(cover("abcdef", 2, iter::once(1..3).collect()), "***def");
        assert_eq!(cover("abcdef", 4, iter::once(1..3).collect()), "ef");
    }
}
