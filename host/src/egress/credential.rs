//! A secret and the places it may go to.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use secrecy::zeroize::Zeroizing;

use super::secret::{self, Channel, Form, Own, Secret, Version};
use super::{Headers, RequestError};
use crate::config::{self, Origin, SchemeGrant, SchemeKind};

const FORM: &str = "application/x-www-form-urlencoded";

/// A secret of one target, with what the target may do with it. Plugins get [`Credential`]s of it.
pub(super) struct Granted {
    grant: Arc<Grant>,
    secret: Secret,
}

struct Grant {
    name: String,
    origins: Vec<Origin>,
    /// Any, when absent.
    schemes: Option<Vec<SchemeGrant>>,
    hmac: bool,
    reveal: bool,
}

/// A handle: the secret as it was when the plugin asked for it, and so for as long as its call lasts. What is begun with one
/// password is not ended with another. It shows itself to nobody: `Debug` prints the name.
#[derive(Clone)]
pub struct Credential {
    grant: Arc<Grant>,
    version: Arc<Version>,
}

/// How a credential goes on the wire.
#[derive(Debug)]
pub enum Scheme {
    /// `Authorization: Bearer`
    Bearer,
    /// `Authorization: Basic`, with this user name.
    Basic(String),
    /// A header of this name.
    Header(String),
    /// A field of this name in an urlencoded body; cookies that come back are kept.
    FormField(String),
    /// The cookies that were kept.
    Session,
    /// A client's certificate.
    ClientCertificate,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy)]
pub enum Digest {
    /// Broken for other uses, sound in an HMAC, and all that some upstreams know.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Scheme {
    fn kind(&self) -> SchemeKind {
        match self {
            Self::Bearer => SchemeKind::Bearer,
            Self::Basic(_) => SchemeKind::Basic,
            Self::Header(_) => SchemeKind::Header,
            Self::FormField(_) => SchemeKind::FormField,
            Self::Session => SchemeKind::Session,
            Self::ClientCertificate => SchemeKind::ClientCertificate,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Basic(name) | Self::Header(name) | Self::FormField(name) => Some(name),
            Self::Bearer | Self::Session | Self::ClientCertificate => None,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Self::FormField(_) | Self::Session => Channel::Cookies,
            Self::ClientCertificate => Channel::Certificate,
            Self::Bearer | Self::Basic(_) | Self::Header(_) => Channel::Plain,
        }
    }

    /// The header that it sets.
    fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Bearer | Self::Basic(_) => Some(AUTHORIZATION),
            Self::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
            Self::FormField(_) | Self::Session | Self::ClientCertificate => None,
        }
    }

    /// Header names have no case; others have.
    fn is_covered_by(&self, granted: &SchemeGrant) -> bool {
        let same_name = |granted: &str| match self {
            Self::Header(name) => name.eq_ignore_ascii_case(granted),
            _ => self.name() == Some(granted),
        };
        self.kind() == granted.kind && granted.name.as_deref().is_none_or(same_name)
    }
}

impl Granted {
    pub(super) fn read(
        key: String,
        name: &str,
        configured: &config::Credential,
    ) -> Result<Self, secret::Error> {
        let granted = |kind| {
            let granted = configured.schemes.iter().flatten();
            granted.into_iter().any(|scheme| scheme.kind == kind)
        };
        let form = Form {
            header: granted(SchemeKind::Bearer) || granted(SchemeKind::Header),
            certificate: granted(SchemeKind::ClientCertificate),
        };
        Ok(Self {
            grant: Arc::new(Grant {
                name: name.to_owned(),
                origins: configured.origins.clone(),
                schemes: configured.schemes.clone(),
                hmac: configured.hmac,
                reveal: configured.reveal,
            }),
            secret: Secret::read(key, &configured.secret, form)?,
        })
    }

    /// As it is now.
    pub(super) fn current(&self) -> Credential {
        Credential {
            grant: self.grant.clone(),
            version: self.secret.current(),
        }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl Credential {
    /// The operator's name for it.
    pub fn name(&self) -> &str {
        &self.grant.name
    }

    /// Changes with the secret.
    pub fn version(&self) -> &str {
        self.version.id()
    }

    /// The HMAC of some data, if the operator lets plugins sign with this secret.
    pub fn hmac(&self, digest: Digest, data: &[u8]) -> Option<Vec<u8>> {
        if !self.grant.hmac {
            return None;
        }
        // ring rather than RustCrypto's hmac: it is here already, as the one that TLS stands on.
        let algorithm = match digest {
            Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        let key = hmac::Key::new(algorithm, self.version.bytes());
        Some(hmac::sign(&key, data).as_ref().to_vec())
    }

    /// The secret itself, if the operator lets plugins see it.
    pub fn reveal(&self) -> Option<&[u8]> {
        self.grant.reveal.then(|| self.version.bytes())
    }

    /// The client for requests to an origin by a scheme and one of the target's ways to connect.
    pub(super) fn client<E>(
        &self,
        scheme: &Scheme,
        origin: &Origin,
        way: usize,
        make: impl FnOnce(Own) -> Result<Client, E>,
    ) -> Result<Client, E> {
        self.version.client(origin, way, scheme.channel(), make)
    }

    /// Whether it may go to that origin so, and no header of the operator's is in the way.
    pub(super) fn check(
        &self,
        scheme: &Scheme,
        origin: &Origin,
        extra: &Headers,
    ) -> Result<(), RequestError> {
        let name = self.name();
        if !self.grant.origins.contains(origin) {
            tracing::warn!(%origin, credential = name, "refused to send a credential there; to permit it, add \"{origin}\" to its origins");
            let what = format!("credential `{name}` at {origin}");
            return Err(RequestError::Denied { what });
        }
        let mut granted = self.grant.schemes.iter().flatten();
        if self.grant.schemes.is_some() && !granted.any(|granted| scheme.is_covered_by(granted)) {
            let scheme = scheme.kind().as_str();
            tracing::warn!(%origin, credential = name, scheme, "refused to send a credential in this way; its schemes say which are granted");
            let what = format!("credential `{name}` by `{scheme}` in this way");
            return Err(RequestError::Denied { what });
        }
        if scheme
            .header()
            .is_some_and(|header| extra.have(origin, &header))
        {
            return Err(RequestError::Credential(
                "a header of the operator's stands where the credential would go",
            ));
        }
        if matches!(scheme, Scheme::ClientCertificate) && !origin.is_https() {
            return Err(RequestError::Credential(
                "a client's certificate is shown in TLS, and the URL is not https",
            ));
        }
        Ok(())
    }

    /// Puts the secret where the scheme wants it.
    pub(super) fn place(
        &self,
        scheme: &Scheme,
        headers: &mut HeaderMap,
        body: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let secret = self.version.bytes();
        match scheme {
            Scheme::Session => {}
            Scheme::ClientCertificate => {
                // The connection shows it: `client` above.
                if !self.version.is_certificate() {
                    return Err(RequestError::Credential(
                        "the secret is no certificate with its key, in PEM",
                    ));
                }
            }
            Scheme::Bearer => {
                let token = Zeroizing::new([b"Bearer ", secret].concat());
                headers.insert(AUTHORIZATION, secret_value(&token)?);
            }
            Scheme::Basic(user) => {
                if user.contains(':') {
                    return Err(RequestError::Invalid(
                        "a user name holds no colon".to_owned(),
                    ));
                }
                let pair = Zeroizing::new([user.as_bytes(), b":", secret].concat());
                let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
                let basic = Zeroizing::new(format!("Basic {}", *encoded));
                headers.insert(AUTHORIZATION, secret_value(basic.as_bytes())?);
            }
            Scheme::Header(name) => {
                let header = HeaderName::from_bytes(name.as_bytes())
                    .ok()
                    .filter(|header| !super::is_reserved(header))
                    .ok_or_else(|| {
                        RequestError::Invalid(format!("no credential goes into a header {name:?}"))
                    })?;
                headers.insert(header, secret_value(secret)?);
            }
            Scheme::FormField(name) => {
                match headers.get(CONTENT_TYPE) {
                    None => {
                        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
                    }
                    Some(kind) if kind.as_bytes() == FORM.as_bytes() => {}
                    Some(_) => {
                        return Err(RequestError::Credential(
                            "form-field needs an urlencoded form",
                        ));
                    }
                }
                if !body.is_empty() {
                    body.push(b'&');
                }
                for piece in url::form_urlencoded::byte_serialize(name.as_bytes()) {
                    body.extend_from_slice(piece.as_bytes());
                }
                body.push(b'=');
                for piece in url::form_urlencoded::byte_serialize(secret) {
                    body.extend_from_slice(piece.as_bytes());
                }
            }
        }
        Ok(())
    }
}

fn secret_value(bytes: &[u8]) -> Result<HeaderValue, RequestError> {
    secret::header_value(bytes).ok_or(RequestError::Credential(
        "the secret cannot stand in a header",
    ))
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credential({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(configuration: &str) -> Credential {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, "p&ss word=1").expect("a file");
        let configuration = format!("secret = {{ file = {path:?} }}\n{configuration}");
        let configured = toml::from_str(&configuration).expect("a table");
        let granted = Granted::read(String::new(), "ipa", &configured).expect("a secret");
        granted.current()
    }

    /// What is told of an attempt to send it to `https://a.example.test`.
    fn sent(configuration: &str, scheme: &Scheme) -> String {
        let (mut headers, mut body) = (HeaderMap::new(), Vec::new());
        let origin = "https://a.example.test".parse::<url::Url>().expect("a URL");
        let (origin, extra) = (origin.try_into().expect("an origin"), Headers::none());
        let credential = credential(configuration);
        let checked = credential.check(scheme, &origin, &extra);
        let sent = checked.and_then(|()| credential.place(scheme, &mut headers, &mut body));
        sent.map_or_else(|error| error.to_string(), |()| "sent".to_owned())
    }

    #[test]
    fn a_form_field_is_encoded_and_joins_the_plugins_own_fields() {
        let (mut headers, mut body) = (HeaderMap::new(), b"user=me".to_vec());
        let scheme = Scheme::FormField("wörd".to_owned());

        credential("")
            .place(&scheme, &mut headers, &mut body)
            .expect("placed");

        assert_eq!(body, b"user=me&w%C3%B6rd=p%26ss+word%3D1");
        assert_eq!(headers[CONTENT_TYPE], FORM);
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let (mut headers, mut body) = (HeaderMap::new(), Vec::new());
        let scheme = Scheme::Basic("me".to_owned());
        credential("")
            .place(&scheme, &mut headers, &mut body)
            .expect("placed");

        assert_eq!(format!("{:?}", credential("")), "Credential(ipa)");
        assert_eq!(format!("{headers:?}"), r#"{"authorization": Sensitive}"#);
    }

    #[test]
    fn a_credential_goes_into_no_reserved_header() {
        for name in ["host", "Cookie", "content-length", "not a header"] {
            let scheme = Scheme::Header(name.to_owned());
            let placed = credential("").place(&scheme, &mut HeaderMap::new(), &mut Vec::new());
            assert!(placed.is_err(), "{name}");
        }
    }

    #[test]
    fn a_credential_is_sent_in_the_ways_that_are_granted_and_no_other() {
        let all = "origins = [\"https://a.example.test\"]";
        let some = format!("{all}\nschemes = [\"basic:me\", \"header:X-Key\", \"session\"]");
        let basic = |user: &str| Scheme::Basic(user.to_owned());
        let header = |name: &str| Scheme::Header(name.to_owned());

        for scheme in [basic("me"), basic("you"), header("X-Other"), Scheme::Bearer] {
            assert_eq!(sent(all, &scheme), "sent", "{scheme:?}");
        }
        for scheme in [basic("me"), header("x-key"), Scheme::Session] {
            assert_eq!(sent(&some, &scheme), "sent", "{scheme:?}");
        }
        for scheme in [
            basic("Me"),
            header("X-Other"),
            Scheme::Bearer,
            Scheme::FormField("me".to_owned()),
            Scheme::ClientCertificate,
        ] {
            let kind = scheme.kind().as_str();
            let refused =
                format!("credential `ipa` by `{kind}` in this way is not granted to this target");
            assert_eq!(sent(&some, &scheme), refused);
        }
    }

    #[test]
    fn signing_and_showing_are_grants_of_their_own() {
        let all = "origins = [\"https://a.example.test\"]";
        assert_eq!(credential(all).hmac(Digest::Sha256, b""), None);
        assert_eq!(credential(all).reveal(), None);

        let both = "hmac = true\nreveal = true";
        assert!(credential(both).hmac(Digest::Sha256, b"").is_some());
        assert_eq!(credential(both).reveal(), Some(&b"p&ss word=1"[..]));
        assert!(sent(both, &Scheme::Bearer).ends_with("is not granted to this target"));
    }
}
