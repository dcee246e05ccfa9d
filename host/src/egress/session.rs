//! The cookies of one credential at one origin.
//!
//! reqwest's own jar would do, but for its size: an upstream that sets a new name with each answer
//! would fill memory.

use std::sync::{PoisonError, RwLock};

use cookie_store::CookieStore;
use reqwest::header::HeaderValue;
use url::Url;

/// More than any upstream has a use for.
const MOST_COOKIES: usize = 32;

/// A jar with a bound.
#[derive(Default)]
pub(super) struct Session(RwLock<CookieStore>);

impl reqwest::cookie::CookieStore for Session {
    fn set_cookies(&self, headers: &mut dyn Iterator<Item = &HeaderValue>, url: &Url) {
        let mut store = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for header in headers.take(MOST_COOKIES) {
            let Ok(text) = header.to_str() else { continue };
            // A cookie that does not parse or belongs elsewhere is left out, as browsers do.
            let _ = store.parse(text, url);
        }
        if store.iter_any().count() > MOST_COOKIES {
            store.clear();
        }
    }

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        let store = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = store
            .get_request_values(url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::cookie::CookieStore as _;

    use super::*;

    fn set(session: &Session, cookie: &str) {
        let url = Url::parse("https://ipa.example.test/ipa/session/login_password").expect("a URL");
        let value = HeaderValue::from_str(cookie).expect("a header");
        session.set_cookies(&mut [value].iter(), &url);
    }

    #[test]
    fn a_session_goes_back_to_its_origin_over_tls_only() {
        let session = Session::default();
        set(
            &session,
            "ipa_session=MagBearerToken=abc; path=/ipa; httponly; secure",
        );
        let sent = |url: &str| session.cookies(&Url::parse(url).expect("a URL"));

        let value = sent("https://ipa.example.test/ipa/session/json").expect("a cookie");
        assert_eq!(value, "ipa_session=MagBearerToken=abc");
        assert_eq!(sent("http://ipa.example.test/ipa/session/json"), None);
        assert_eq!(sent("https://other.example.test/ipa/session/json"), None);
    }

    #[test]
    fn an_upstream_cannot_fill_memory_with_cookies() {
        let session = Session::default();
        for number in 0..10_000 {
            set(&session, &format!("name{number}=value; path=/"));
        }
        let store = session.0.read().expect("not poisoned");
        assert!(store.iter_any().count() <= MOST_COOKIES);
    }
}
