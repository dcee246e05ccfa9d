//! Scheme, host and port: what a grant to connect names.

use std::fmt;

use serde::Deserialize;
use url::Url;

/// An origin, written `https://host` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "Url")]
pub struct Origin(url::Origin);

/// Why a URL is no origin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Plugins speak HTTP.
    #[error("`{0}` has a scheme other than https and http")]
    Scheme(Url),
    /// A path, a query or a user name would be thought to count, and does not.
    #[error("`{url}` is not an origin; write `{origin}`")]
    TooMuch {
        /// What was written, without a password.
        url: String,
        /// What to write.
        origin: String,
    },
}

impl Origin {
    /// The origin of a URL of the schemes that plugins speak.
    pub fn of(url: &Url) -> Self {
        Self(url.origin())
    }

    /// Its URL with the shortest path.
    pub fn url(&self) -> Url {
        let text = self.0.ascii_serialization();
        Url::parse(&text).expect("an origin of http or https is a URL")
    }

    /// Whether a URL lies at this origin.
    pub fn covers(&self, url: &Url) -> bool {
        self.0 == url.origin()
    }

    /// Whether it is reached by TLS.
    pub fn is_https(&self) -> bool {
        matches!(&self.0, url::Origin::Tuple(scheme, ..) if scheme == "https")
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_plain_text(&self) -> bool {
        matches!(&self.0, url::Origin::Tuple(scheme, host, _)
            if scheme == "http" && !is_loopback(host))
    }
}

fn is_loopback(host: &url::Host) -> bool {
    match host {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.ascii_serialization())
    }
}

impl TryFrom<Url> for Origin {
    type Error = Error;

    fn try_from(url: Url) -> Result<Self, Error> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Error::Scheme(url));
        }
        let origin = url.origin();
        if url.as_str() != format!("{}/", origin.ascii_serialization()) {
            let mut shown = url;
            // Neither fails for http and https, which have a host.
            let _ = shown.set_password(None);
            let _ = shown.set_username("");
            return Err(Error::TooMuch {
                url: shown.into(),
                origin: origin.ascii_serialization(),
            });
        }
        Ok(Self(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<Origin, Error> {
        Origin::try_from(Url::parse(text).expect("a URL"))
    }

    #[test]
    fn an_origin_covers_its_own_urls_only() {
        let ipa = origin("https://IPA.example.test").expect("an origin");
        let covers = |url| ipa.covers(&Url::parse(url).expect("a URL"));

        assert!(covers("https://ipa.example.test/ipa/session/json"));
        assert!(covers("https://ipa.example.test:443/"));
        assert!(!covers("http://ipa.example.test/"));
        assert!(!covers("https://ipa.example.test:8443/"));
        assert!(!covers("https://ipa.example.test.evil.test/"));
        assert!(!covers("https://evil.test/https://ipa.example.test"));
    }

    #[test]
    fn anything_but_an_origin_is_refused_with_what_to_write_and_no_password() {
        let error = origin("https://admin:hunter2@ipa.example.test/x?y").expect_err("refused");
        let text = error.to_string();
        assert!(text.ends_with("write `https://ipa.example.test`"), "{text}");
        assert!(!text.contains("hunter2"));
        assert!(origin("ftp://ipa.example.test").is_err());
    }
}
