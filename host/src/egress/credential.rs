//! A secret and the places it may go to.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::RequestError;
use crate::config::{self, Origin, SecretError};

const FORM: &str = "application/x-www-form-urlencoded";

/// A secret that one target may have used. It shows itself to nobody: `Debug` prints the name.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    name: String,
    version: String,
    origins: Vec<Origin>,
    secret: SecretString,
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
}

impl Scheme {
    /// Whether cookies are kept and sent.
    pub(super) fn has_session(&self) -> bool {
        matches!(self, Self::FormField(_) | Self::Session)
    }
}

impl Credential {
    pub(super) fn read(name: &str, configured: &config::Credential) -> Result<Self, SecretError> {
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            // Says that a secret may be another one, and nothing about it.
            version: uuid::Uuid::new_v4().to_string(),
            origins: configured.origins.clone(),
            secret: configured.secret.read()?,
        })))
    }

    /// The operator's name for it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Changes with the secret.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.0.secret.expose_secret().as_bytes()
    }

    pub(super) fn may_go_to(&self, origin: &Origin) -> bool {
        self.0.origins.contains(origin)
    }

    /// Puts the secret where the scheme wants it.
    pub(super) fn place(
        &self,
        scheme: &Scheme,
        headers: &mut HeaderMap,
        body: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let secret = self.0.secret.expose_secret();
        match scheme {
            Scheme::Session => {}
            Scheme::Bearer => {
                headers.insert(AUTHORIZATION, secret_value(&format!("Bearer {secret}"))?);
            }
            Scheme::Basic(user) => {
                if user.contains(':') {
                    return Err(RequestError::Invalid(
                        "a user name holds no colon".to_owned(),
                    ));
                }
                let pair = BASE64_STANDARD.encode(format!("{user}:{secret}"));
                headers.insert(AUTHORIZATION, secret_value(&format!("Basic {pair}"))?);
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
                let mut field = url::form_urlencoded::Serializer::new(String::new());
                field.append_pair(name, secret);
                body.extend_from_slice(field.finish().as_bytes());
            }
        }
        Ok(())
    }
}

fn secret_value(text: &str) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_not_a_header| RequestError::Credential("the secret cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credential({})", self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential(Arc::new(Inner {
            name: "ipa".to_owned(),
            version: String::new(),
            origins: Vec::new(),
            secret: "p&ss wörd=1".to_owned().into(),
        }))
    }

    #[test]
    fn a_form_field_is_encoded_and_joins_the_plugins_own_fields() {
        let (mut headers, mut body) = (HeaderMap::new(), b"user=me".to_vec());
        let scheme = Scheme::FormField("password".to_owned());

        credential()
            .place(&scheme, &mut headers, &mut body)
            .expect("placed");

        assert_eq!(body, b"user=me&password=p%26ss+w%C3%B6rd%3D1");
        assert_eq!(headers[CONTENT_TYPE], FORM);
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let (mut headers, mut body) = (HeaderMap::new(), Vec::new());
        let scheme = Scheme::Basic("me".to_owned());
        credential()
            .place(&scheme, &mut headers, &mut body)
            .expect("placed");

        assert_eq!(format!("{:?}", credential()), "Credential(ipa)");
        assert_eq!(format!("{headers:?}"), r#"{"authorization": Sensitive}"#);
    }

    #[test]
    fn a_credential_goes_into_no_reserved_header() {
        for name in ["host", "Cookie", "content-length", "not a header"] {
            let scheme = Scheme::Header(name.to_owned());
            let placed = credential().place(&scheme, &mut HeaderMap::new(), &mut Vec::new());
            assert!(placed.is_err(), "{name}");
        }
    }
}
