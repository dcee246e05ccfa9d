//! A plugin's request, as far as it can be judged without the rules: its URL, its headers, its body.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::RequestError;
use super::spending::Spending;

/// What the gateway sets itself, or what concerns one connection only. A plugin that could set these could
/// speak for another host or smuggle a second request.
const RESERVED_HEADERS: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Upstreams behind a proxy take from these who is asking.
const RESERVED_PREFIX: &str = "x-forwarded-";

/// More than any upstream takes. The map itself would panic at some tens of thousands.
const MOST_HEADERS: usize = 100;
const HEADERS_BYTES: usize = 64 << 10;

/// A plugin's request.
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Absolute.
    pub url: String,
    /// The plugin's own headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What it sends.
    pub body: Body,
    /// The plugin's own limits; the deadline of the call holds on top.
    pub timeout: Option<Duration>,
    /// For the beginning of the answer.
    pub first_byte_timeout: Option<Duration>,
    /// How many redirects the plugin wants followed.
    pub max_redirects: u8,
}

/// A request's body.
pub enum Body {
    /// It is there.
    Whole(Bytes),
    /// The plugin is still writing it.
    Arriving(UnsyncBoxBody<Bytes, Unfinished>),
}

/// A body that the plugin gave up.
#[derive(Debug, thiserror::Error)]
#[error("the plugin did not finish the request's body")]
pub struct Unfinished;

/// An upstream's answer.
pub struct Incoming {
    /// The status code.
    pub status: u16,
    /// All headers; without `Set-Cookie` when a credential was used.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Body {
    /// Waits until it is there, and keeps it for the next hop.
    pub(super) async fn whole(
        &mut self,
        limit: usize,
        spending: &Spending,
    ) -> Result<Bytes, RequestError> {
        let too_large = RequestError::BodyTooLarge {
            limit,
            of: "the body",
        };
        let whole = match self {
            Self::Whole(bytes) => {
                if bytes.len() > limit {
                    return Err(too_large);
                }
                spending.send(bytes.len())?;
                return Ok(bytes.clone());
            }
            Self::Arriving(arriving) => {
                let mut whole = Vec::new();
                while let Some(frame) = arriving.frame().await {
                    let frame = frame.map_err(|error| RequestError::Invalid(error.to_string()))?;
                    // Trailers are left out: no upstream of a plugin's is known to need them.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if whole.len() + data.len() > limit {
                        return Err(too_large);
                    }
                    spending.send(data.len())?;
                    whole.extend_from_slice(&data);
                }
                Bytes::from(whole)
            }
        };
        *self = Self::Whole(whole.clone());
        Ok(whole)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

/// Whether a header is the gateway's to set.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    RESERVED_HEADERS.contains(&name) || name.starts_with(RESERVED_PREFIX)
}

pub(super) fn checked_url(text: &str) -> Result<Url, RequestError> {
    let invalid = |reason: &str| RequestError::Invalid(format!("the URL {reason}"));
    let mut url = Url::parse(text).map_err(|error| invalid(&format!("is wrong: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(invalid("has a scheme other than https and http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("holds user information"));
    }
    if url.domain().is_some_and(|name| name.ends_with('.')) {
        return Err(invalid("has a host that ends in a dot"));
    }
    url.set_fragment(None);
    Ok(url)
}

pub(super) fn checked_headers(headers: Vec<(String, Vec<u8>)>) -> Result<HeaderMap, RequestError> {
    let bytes = |(name, value): &(String, Vec<u8>)| name.len() + value.len();
    if headers.len() > MOST_HEADERS || headers.iter().map(bytes).sum::<usize>() > HEADERS_BYTES {
        let message = format!("more than {MOST_HEADERS} headers, or {HEADERS_BYTES} bytes of them");
        return Err(RequestError::Invalid(message));
    }
    let mut checked = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let invalid = || RequestError::Invalid(format!("the header {name:?} is no header"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_bad| invalid())?;
        let value = HeaderValue::from_bytes(&value).map_err(|_bad| invalid())?;
        if is_reserved(&header) {
            let message = format!("the header `{header}` is the gateway's to set");
            return Err(RequestError::Invalid(message));
        }
        checked.append(header, value);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn a_plugin_cannot_speak_for_another_host_or_smuggle_a_request() {
        for (name, value) in [
            ("Host", &b"other.example.test"[..]),
            ("content-length", b"0"),
            ("Transfer-Encoding", b"chunked"),
            ("Authorization", b"Basic x"),
            ("Cookie", b"a=b"),
            ("Forwarded", b"for=10.0.0.1"),
            ("X-Forwarded-For", b"10.0.0.1"),
            ("x-forwarded-anything", b"x"),
            ("Via", b"1.1 x"),
            ("X-Fine", b"a\r\nHost: other"),
            ("X Space", b"a"),
            ("", b"a"),
        ] {
            let headers = vec![(name.to_owned(), value.to_vec())];
            assert!(checked_headers(headers).is_err(), "{name}");
        }
        let fine = vec![(
            "Referer".to_owned(),
            b"https://ipa.example.test/ipa".to_vec(),
        )];
        assert!(checked_headers(fine).is_ok());
    }

    #[test]
    fn no_number_of_headers_is_too_much_for_the_gateway() {
        let many = vec![("a".to_owned(), b"b".to_vec()); 100_000];
        let long = vec![("a".to_owned(), vec![b'b'; 1 << 20])];
        for headers in [many, long] {
            let refused = checked_headers(headers);
            assert!(matches!(refused, Err(RequestError::Invalid(_))));
        }
    }

    #[test]
    fn a_url_with_a_user_or_another_scheme_is_refused() {
        for url in [
            "https://user@host/",
            "https://u:p@host/",
            "https://host./",
            "file:///etc/passwd",
            "/relative",
            "",
        ] {
            assert!(
                matches!(checked_url(url), Err(RequestError::Invalid(_))),
                "{url}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_arrives_is_bounded_as_it_arrives() {
        let spending = Spending::new(&crate::config::EgressLimits {
            request_bytes: 10,
            ..crate::config::EgressLimits::default()
        });
        let arriving = |bytes: &'static [u8]| {
            let body = Full::new(Bytes::from_static(bytes));
            Body::Arriving(body.map_err(|never| match never {}).boxed_unsync())
        };

        let mut body = arriving(b"12345");
        assert_eq!(body.whole(5, &spending).await.expect("small"), "12345");
        // The next hop sends it again.
        assert_eq!(body.whole(5, &spending).await.expect("small"), "12345");
        for (mut body, limit) in [(arriving(b"12345"), 4), (arriving(b"1"), 4)] {
            let refused = body.whole(limit, &spending).await;
            assert!(matches!(refused, Err(RequestError::BodyTooLarge { .. })));
        }
    }
}
