//! Where a rule lets a plugin go: scheme, host, port and the beginning of the path.
//!
//! A rule that is read otherwise than it was meant lets too much through, or nothing at night. So there is one way to write
//! each, and what is written in another is refused with the right one.

use std::fmt;

use url::{Host, Url};

use super::Origin;

/// `https://host`, `https://host:port/path`, or `https://*.example.test` for each host one label below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    scheme: String,
    host: Pattern,
    port: u16,
    /// Without a slash at its end; empty for everything.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    /// The name itself is not meant.
    OneLabelBelow(String),
}

/// Why a text is no destination.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no URL.
    #[error("`{text}` is no URL: {reason}")]
    NoUrl {
        /// What stands there.
        text: String,
        /// What the parser says.
        reason: String,
    },
    /// Plugins speak HTTP.
    #[error("`{0}` has a scheme other than https and http")]
    Scheme(String),
    /// It would be everywhere, and nobody would know what a plugin calls.
    #[error(
        "`{0}` is everywhere; name each host, `https://api.example.test`, or the hosts of one domain, `https://*.example.test`"
    )]
    Everywhere(String),
    /// A star stands for the first label, and for nothing else.
    #[error(
        "`{0}` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: \
         `https://*.example.test`"
    )]
    Star(String),
    /// It is spelt in another way than the one that this is compared with, or says something that would be thought to count.
    #[error("`{text}` is not how a rule is written; write `{write}`")]
    Spelling {
        /// What stands there, without a user's name and password.
        text: String,
        /// What to write.
        write: String,
    },
}

impl Destination {
    /// Reads the text of a rule.
    ///
    /// # Errors
    ///
    /// When it is not written in the one way.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let owned = || text.to_owned();
        if [
            "*",
            "*:*",
            "*://*",
            "https://*",
            "http://*",
            "https://*/",
            "http://*/",
        ]
        .contains(&text)
        {
            return Err(Error::Everywhere(owned()));
        }
        if !text.contains("://") {
            let Some(write) = Self::guessed(&format!("https://{text}")) else {
                let reason = "it has no scheme".to_owned();
                return Err(Error::NoUrl {
                    text: owned(),
                    reason,
                });
            };
            return Err(Error::Spelling {
                text: owned(),
                write,
            });
        }
        let url = Url::parse(text).map_err(|error| Error::NoUrl {
            text: without_user(text),
            reason: error.to_string(),
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Error::Scheme(without_user(text)));
        }
        let destination = Self::of(&url).ok_or_else(|| Error::Star(without_user(text)))?;
        if !is_plain(&destination.path) {
            return Err(Error::NoUrl {
                text: without_user(text),
                reason:
                    "its path has encoded dots or slashes, which servers read in different ways"
                        .to_owned(),
            });
        }
        let canonical = destination.to_string();
        let with_port = format!(
            "{}://{}:{}{}",
            destination.scheme, destination.host, destination.port, destination.path
        );
        let bare = text.strip_suffix('/').unwrap_or(text);
        if bare == canonical || bare == with_port {
            return Ok(destination);
        }
        Err(Error::Spelling {
            text: without_user(text),
            write: canonical,
        })
    }

    fn guessed(text: &str) -> Option<String> {
        let url = Url::parse(text).ok()?;
        Some(Self::of(&url)?.to_string())
    }

    /// What a URL would be as a rule; none where its stars would mean nothing.
    fn of(url: &Url) -> Option<Self> {
        let host = match url.host()? {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                match name.strip_prefix("*.") {
                    Some(domain) => Pattern::OneLabelBelow(domain.to_owned()),
                    None => Pattern::Exactly(Host::Domain(name.to_owned())),
                }
            }
            literal => Pattern::Exactly(literal.to_owned()),
        };
        let possible = match &host {
            Pattern::OneLabelBelow(domain) => domain.contains('.') && !domain.contains('*'),
            Pattern::Exactly(Host::Domain(name)) => !name.is_empty() && !name.contains('*'),
            Pattern::Exactly(_) => true,
        };
        if !possible || url.path().contains('*') {
            return None;
        }
        Some(Self {
            scheme: url.scheme().to_owned(),
            host,
            port: url.port_or_known_default()?,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// A URL's origin with the beginning of a path; none where the URL's host is none that a rule can name.
    pub fn at(url: &Url, path: &str) -> Option<Self> {
        let mut url = url.clone();
        url.set_path(path);
        url.set_query(None);
        Self::of(&url)
    }

    /// Whether a URL lies there.
    pub fn covers(&self, url: &Url) -> bool {
        self.covers_origin_of(url) && self.covers_path(url.path())
    }

    /// Whether some URL of this origin lies there.
    pub fn covers_origin(&self, origin: &Origin) -> bool {
        self.covers_origin_of(&origin.url())
    }

    /// Whether a URL has this scheme, host and port.
    pub fn covers_origin_of(&self, url: &Url) -> bool {
        url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
            && url.host().is_some_and(|host| self.host.covers(&host))
    }

    /// The beginning of the path, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address, where the rule names one in place of a host.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match &self.host {
            Pattern::Exactly(Host::Ipv4(address)) => Some((*address).into()),
            Pattern::Exactly(Host::Ipv6(address)) => Some((*address).into()),
            _ => None,
        }
    }

    fn covers_path(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        let rest = path.strip_prefix(&self.path);
        let borders = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // A server that decodes before it looks for dots would be led out again.
        borders && is_plain(path)
    }
}

impl Pattern {
    fn covers<S: AsRef<str>>(&self, host: &Host<S>) -> bool {
        match (self, host) {
            (Self::OneLabelBelow(domain), Host::Domain(name)) => name
                .as_ref()
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            (Self::Exactly(Host::Domain(own)), Host::Domain(name)) => own == name.as_ref(),
            (Self::Exactly(Host::Ipv4(own)), Host::Ipv4(address)) => own == address,
            (Self::Exactly(Host::Ipv6(own)), Host::Ipv6(address)) => own == address,
            _ => false,
        }
    }
}

/// Whether all servers read a path alike: it has no separator and no dot segment that shows up by decoding, once or
/// more often, nor one with a parameter, which some servers cut off first.
fn is_plain(path: &str) -> bool {
    let mut read = path.as_bytes().to_vec();
    // Nobody decodes more often than this, and a path that still changes then hides something.
    for _ in 0..4 {
        let dots = |segment: &[u8]| {
            let name = segment.split(|byte| *byte == b';').next();
            matches!(name, Some(b"." | b".."))
        };
        if read.contains(&b'\\') || read.contains(&0) || read.split(|byte| *byte == b'/').any(dots)
        {
            return false;
        }
        let decoded = decoded(&read);
        let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
        if slashes(&decoded) != slashes(&read) {
            return false;
        }
        if decoded == read {
            return true;
        }
        read = decoded;
    }
    false
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4) | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// A text for a message: what stands before an `@` may be a password.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_user, host)) => format!("{scheme}://...@{host}{path}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(host) => host.fmt(formatter),
            Self::OneLabelBelow(domain) => write!(formatter, "*.{domain}"),
        }
    }
}

/// The one way to write it.
impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        let default = if self.scheme == "https" { 443 } else { 80 };
        if self.port != default {
            write!(formatter, ":{}", self.port)?;
        }
        formatter.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        Destination::parse(text).expect("a destination")
    }

    fn covered<'a>(rule: &str, urls: &[&'a str]) -> Vec<&'a str> {
        let rule = destination(rule);
        let covers = |url: &&&str| rule.covers(&Url::parse(url).expect("a URL"));
        urls.iter().filter(covers).copied().collect()
    }

    #[test]
    fn an_origin_alone_is_everything_there_and_nothing_elsewhere() {
        let urls = [
            "https://ipa.example.test/",
            "https://IPA.example.test:443/ipa/session/json?x#y",
            "https://ipa.example.test/a%2fb/..%2f",
            "http://ipa.example.test/",
            "https://ipa.example.test:8443/",
            "https://ipa.example.test./",
            "https://ipa.example.test.evil.test/",
            "https://evil.test/https://ipa.example.test",
            "https://a.ipa.example.test/",
        ];
        assert_eq!(covered("https://ipa.example.test", &urls), urls[..3]);
    }

    #[test]
    fn a_star_is_one_label_and_never_none_or_two() {
        let urls = [
            "https://a.example.test/",
            "https://*.example.test/",
            "https://example.test/",
            "https://.example.test/",
            "https://a.b.example.test/",
            "https://aexample.test/",
        ];
        assert_eq!(covered("https://*.example.test", &urls), urls[..2]);
    }

    #[test]
    fn a_path_ends_at_the_border_of_a_segment_and_nothing_leads_out_of_it() {
        let urls = [
            "https://host.test/api",
            "https://host.test/api/",
            "https://host.test/api/x/../y?q=../..",
            "https://host.test/api//x",
            "https://host.test/api/a%20b%25c",
            "https://host.test/",
            "https://host.test/apix",
            "https://host.test/API",
            "https://host.test/%61pi",
            "https://host.test/x/api",
            "https://host.test/api/../x",
            "https://host.test/api/%2e%2e/x",
            "https://host.test/api/.%2E/x",
            "https://host.test/api/..%2fx",
            "https://host.test/api%2f..%2fx",
            "https://host.test/api/%252e%252e/x",
            "https://host.test/api/..%5cx",
            "https://host.test/api/..;v=1/x",
            "https://host.test/api/..%3bv/x",
            "https://host.test/api/a%00b",
            "https://host.test/api/%2525252525252e/x",
        ];
        assert_eq!(covered("https://host.test/api", &urls), urls[..5]);
        assert_eq!(covered("https://host.test/api/", &urls), urls[..5]);
    }

    #[test]
    fn an_address_is_taken_as_it_is_written() {
        let urls = [
            "http://127.0.0.1:8080/",
            "http://2130706433:8080/x",
            "http://localhost:8080/",
        ];
        assert_eq!(covered("http://127.0.0.1:8080", &urls), urls[..2]);
        assert_eq!(
            covered(
                "https://[::1]",
                &["https://[0:0::1]/", "https://127.0.0.1/"]
            ),
            ["https://[0:0::1]/"]
        );
    }

    #[test]
    fn what_is_not_written_in_the_one_way_is_refused_with_what_to_write() {
        let refused = |text: &str| match Destination::parse(text) {
            Ok(destination) => panic!("{destination} is taken"),
            Err(error) => error.to_string(),
        };
        let texts = [
            "ipa.example.test",
            "ipa.example.test:8443/api",
            "https://IPA.example.test",
            "https://ipa.example.test.",
            "https://admin:hunter2@ipa.example.test/x",
            "https://ipa.example.test/x?y=z",
            "https://ipa.example.test/#x",
            "https://ipa.example.test/a/../b",
            "https://ipa.example.test/a%2fb",
            "https://ipa.example.test/*",
            "https://0x7f.1",
            "https://bücher.example",
            "https://ipa.example.test:*",
            "ftp://ipa.example.test",
            "*",
            "https://*",
            "https://*.test",
            "https://a.*.example.test",
            "https://*a.example.test",
            "https://*.*.example.test",
            "",
        ];
        insta::assert_snapshot!(texts.map(refused).join("\n"), @"
        `ipa.example.test` is not how a rule is written; write `https://ipa.example.test`
        `ipa.example.test:8443/api` is not how a rule is written; write `https://ipa.example.test:8443/api`
        `https://IPA.example.test` is not how a rule is written; write `https://ipa.example.test`
        `https://ipa.example.test.` is not how a rule is written; write `https://ipa.example.test`
        `https://...@ipa.example.test/x` is not how a rule is written; write `https://ipa.example.test/x`
        `https://ipa.example.test/x?y=z` is not how a rule is written; write `https://ipa.example.test/x`
        `https://ipa.example.test/#x` is not how a rule is written; write `https://ipa.example.test`
        `https://ipa.example.test/a/../b` is not how a rule is written; write `https://ipa.example.test/b`
        `https://ipa.example.test/a%2fb` is no URL: its path has encoded dots or slashes, which servers read in different ways
        `https://ipa.example.test/*` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        `https://0x7f.1` is not how a rule is written; write `https://127.0.0.1`
        `https://bücher.example` is not how a rule is written; write `https://xn--bcher-kva.example`
        `https://ipa.example.test:*` is no URL: invalid port number
        `ftp://ipa.example.test` has a scheme other than https and http
        `*` is everywhere; name each host, `https://api.example.test`, or the hosts of one domain, `https://*.example.test`
        `https://*` is everywhere; name each host, `https://api.example.test`, or the hosts of one domain, `https://*.example.test`
        `https://*.test` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        `https://a.*.example.test` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        `https://*a.example.test` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        `https://*.*.example.test` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        `` is no URL: it has no scheme
        ");
    }

    #[test]
    fn a_port_that_is_the_schemes_own_may_be_written() {
        for text in [
            "https://host.test:443",
            "https://host.test:443/",
            "http://host.test:80",
        ] {
            assert!(Destination::parse(text).is_ok(), "{text}");
        }
    }
}
