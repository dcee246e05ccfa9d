//! Where a redirect leads, and what goes along.
//!
//! Methods change as browsers change them (<https://fetch.spec.whatwg.org/#http-redirect-fetch>). What may be a secret stays with
//! the origin that it was meant for: an upstream decides where it redirects to, not the operator.

use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LOCATION, PRAGMA, RANGE, USER_AGENT,
};
use url::Url;

use super::RequestError;
use super::request::checked_url;

/// More than any site has a use for.
pub(super) const MOST_REDIRECTS: u8 = 5;

const OF_THE_BODY: [HeaderName; 4] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
];

/// What a plugin may have put a secret into is every header but these.
const WITHOUT_SECRETS: [HeaderName; 12] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    PRAGMA,
    RANGE,
    USER_AGENT,
];

/// The next request after a redirect.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) url: Url,
    pub(super) method: Method,
    /// Whether the body is sent again.
    pub(super) keeps_body: bool,
    /// Whether scheme, host and port are the same.
    pub(super) keeps_origin: bool,
}

/// What to ask next; nothing when the answer is no redirect that can be followed.
pub(super) fn next(
    url: &Url,
    method: &Method,
    status: u16,
    headers: &HeaderMap,
) -> Result<Option<Next>, RequestError> {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let to_get = match status {
        StatusCode::SEE_OTHER => !matches!(*method, Method::GET | Method::HEAD),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let Some(location) = headers.get(LOCATION) else {
        return Ok(None);
    };
    let invalid = || RequestError::Invalid("the upstream redirects to what is no URL".to_owned());
    let location = location.to_str().map_err(|_not_ascii| invalid())?;
    let joined = url.join(location).map_err(|_no_url| invalid())?;
    let next = checked_url(joined.as_str())?;
    Ok(Some(Next {
        keeps_origin: next.origin() == url.origin(),
        url: next,
        method: if to_get { Method::GET } else { method.clone() },
        keeps_body: !to_get,
    }))
}

/// Leaves out the headers that do not go along.
pub(super) fn carry(headers: &mut HeaderMap, next: &Next) {
    if !next.keeps_body {
        for name in OF_THE_BODY {
            headers.remove(name);
        }
    }
    if !next.keeps_origin {
        let mut kept = HeaderMap::new();
        for (name, value) in headers.iter() {
            if WITHOUT_SECRETS.contains(name) {
                kept.append(name, value.clone());
            }
        }
        *headers = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(method: &str, status: u16, location: &str) -> String {
        let url = Url::parse("https://a.test/x/y?q").expect("a URL");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a header"));
        match next(&url, &method, status, &headers) {
            Ok(Some(next)) => format!(
                "{} {} body {} origin {}",
                next.method, next.url, next.keeps_body, next.keeps_origin
            ),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn methods_change_as_in_browsers() {
        let cases = [
            ("POST", 301),
            ("POST", 302),
            ("PUT", 302),
            ("POST", 303),
            ("DELETE", 303),
            ("HEAD", 303),
            ("POST", 307),
            ("POST", 308),
            ("GET", 300),
            ("GET", 304),
            ("GET", 200),
        ];
        let followed = cases.map(|(method, status)| {
            format!("{method} {status}: {}", followed(method, status, "../z#f"))
        });
        insta::assert_snapshot!(followed.join("\n"), @"
        POST 301: GET https://a.test/z body false origin true
        POST 302: GET https://a.test/z body false origin true
        PUT 302: PUT https://a.test/z body true origin true
        POST 303: GET https://a.test/z body false origin true
        DELETE 303: GET https://a.test/z body false origin true
        HEAD 303: HEAD https://a.test/z body true origin true
        POST 307: POST https://a.test/z body true origin true
        POST 308: POST https://a.test/z body true origin true
        GET 300: none
        GET 304: none
        GET 200: none
        ");
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let locations = [
            "https://a.test:443/z",
            "//a.test/z",
            "http://a.test/z",
            "https://a.test:8443/z",
            "https://b.test/z",
            "file:///etc/passwd",
            "https://user:secret@a.test/",
            "https://",
        ];
        let followed = locations.map(|location| followed("GET", 302, location));
        insta::assert_snapshot!(followed.join("\n"), @"
        GET https://a.test/z body true origin true
        GET https://a.test/z body true origin true
        GET http://a.test/z body true origin false
        GET https://a.test:8443/z body true origin false
        GET https://b.test/z body true origin false
        the URL has a scheme other than https and http
        the URL holds user information
        the upstream redirects to what is no URL
        ");
    }

    #[test]
    fn what_may_be_a_secret_stays_with_its_origin() {
        let mut headers = HeaderMap::new();
        for name in [
            "accept",
            "content-type",
            "x-api-key",
            "private-token",
            "traceparent",
        ] {
            let name = HeaderName::from_static(name);
            headers.insert(name, "value".parse().expect("a header"));
        }
        let next = |keeps_origin, keeps_body| Next {
            url: Url::parse("https://b.test/").expect("a URL"),
            method: Method::GET,
            keeps_body,
            keeps_origin,
        };
        let names = |headers: &HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(HeaderName::to_string).collect();
            names.sort();
            names
        };

        carry(&mut headers, &next(true, false));
        assert_eq!(
            names(&headers),
            ["accept", "private-token", "traceparent", "x-api-key"]
        );
        carry(&mut headers, &next(false, true));
        assert_eq!(names(&headers), ["accept"]);
    }
}
