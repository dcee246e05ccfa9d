//! `[targets.NAME.credentials.NAME]`: a secret that one target may have used, how and where.

use std::fmt;

use reqwest::header::HeaderName;
use serde::Deserialize;

use super::{Document, Fault, Origin, SecretSource};

/// A secret, and what the host may do with it for a plugin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Where the secret is.
    pub secret: SecretSource,
    /// Origins it may be sent to; each must be among the target's `egress`.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// How it may be sent there; in any way the plugin asks for, when absent.
    pub schemes: Option<Vec<SchemeGrant>>,
    /// Let the plugin have data signed with it.
    #[serde(default)]
    pub hmac: bool,
    /// Let the plugin see it.
    #[serde(default)]
    pub reveal: bool,
}

/// One way to put a secret on the wire, `basic` or `header:X-Api-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SchemeGrant {
    /// Which.
    pub kind: SchemeKind,
    /// The user's, header's or field's name; any, when absent.
    pub name: Option<String>,
}

/// A scheme apart from the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeKind {
    /// `Authorization: Bearer`
    Bearer,
    /// `Authorization: Basic`, of some user.
    Basic,
    /// A header of some name.
    Header,
    /// A field of some name in an urlencoded body.
    FormField,
    /// The cookies that a log-in brought.
    Session,
    /// A client's certificate in TLS.
    ClientCertificate,
}

impl SchemeKind {
    const ALL: [Self; 6] = [
        Self::Bearer,
        Self::Basic,
        Self::Header,
        Self::FormField,
        Self::Session,
        Self::ClientCertificate,
    ];

    /// Its name, as the WIT package has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Header => "header",
            Self::FormField => "form-field",
            Self::Session => "session",
            Self::ClientCertificate => "client-certificate",
        }
    }

    fn takes_a_name(self) -> bool {
        matches!(self, Self::Basic | Self::Header | Self::FormField)
    }
}

impl TryFrom<String> for SchemeGrant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (&*text, None),
        };
        let Some(kind) = SchemeKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
        else {
            let known: Vec<&str> = SchemeKind::ALL.iter().map(|kind| kind.as_str()).collect();
            return Err(format!(
                "there is no scheme `{kind}`; known: {}",
                known.join(", ")
            ));
        };
        let good = match name {
            None => true,
            Some("") => false,
            Some(name) if kind == SchemeKind::Header => name.parse::<HeaderName>().is_ok(),
            Some(name) if kind == SchemeKind::Basic => !name.contains(':'),
            Some(_) => kind.takes_a_name(),
        };
        if !good {
            let form = if kind.takes_a_name() {
                ", or with a name: `header:X-Api-Key`, `basic:alice`, `form-field:password`"
            } else {
                ""
            };
            return Err(format!("`{text}`: write `{}`{form}", kind.as_str()));
        }
        Ok(Self {
            kind,
            name: name.map(str::to_owned),
        })
    }
}

impl fmt::Display for SchemeGrant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.as_str())?;
        match &self.name {
            Some(name) => write!(formatter, ":{name}"),
            None => Ok(()),
        }
    }
}

impl Credential {
    /// `key` is the credential's own table.
    pub(super) fn check(&self, key: &[&str], document: &Document) -> Vec<Fault> {
        let at = |name| [key, &[name]].concat();
        let mut faults = Vec::new();
        let used_without = self.hmac || self.reveal;
        if self.origins.is_empty() && (!used_without || self.schemes.is_some()) {
            let message = "without an origin it can never be sent anywhere";
            faults.push(document.fault(&at("origins"), message));
        }
        if self.schemes.as_ref().is_some_and(Vec::is_empty) {
            let message = "an empty list lets it be sent in no way; for that, leave out `origins`";
            faults.push(document.fault(&at("schemes"), message));
        }
        let certificate = SchemeKind::ClientCertificate;
        let plain = self.origins.iter().find(|origin| !origin.is_https());
        if let Some(plain) = plain
            && self
                .schemes
                .iter()
                .flatten()
                .any(|scheme| scheme.kind == certificate)
        {
            let message = format!("a client's certificate is shown in TLS, which {plain} has not");
            faults.push(document.fault(&at("origins"), message));
        }
        faults
    }

    /// What is done with it, for people: where it goes to, how, and what the plugin may have of it.
    pub fn uses(&self) -> String {
        let mut uses = Vec::new();
        if !self.origins.is_empty() {
            let origins: Vec<String> = self.origins.iter().map(Origin::to_string).collect();
            let how = match &self.schemes {
                None => "by any scheme".to_owned(),
                Some(schemes) => {
                    let schemes: Vec<String> = schemes.iter().map(SchemeGrant::to_string).collect();
                    format!("by {}", schemes.join(", "))
                }
            };
            uses.push(format!("sent to {} {how}", origins.join(", ")));
        }
        if self.hmac {
            uses.push("signs what the plugin likes (hmac)".to_owned());
        }
        if self.reveal {
            uses.push("shown to the plugin (reveal)".to_owned());
        }
        uses.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Result<SchemeGrant, String> {
        SchemeGrant::try_from(text.to_owned())
    }

    #[test]
    fn a_scheme_is_its_name_and_if_wanted_the_name_in_it() {
        for text in [
            "bearer",
            "basic",
            "basic:alice",
            "header:X-Api-Key",
            "form-field:password",
            "session",
            "client-certificate",
        ] {
            assert_eq!(grant(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_scheme_is_refused_with_what_to_write() {
        insta::assert_snapshot!(
            ["digest", "bearer:x", "basic:", "header:not a header", ""]
                .map(|text| grant(text).expect_err(text))
                .join("\n"),
            @"
        there is no scheme `digest`; known: bearer, basic, header, form-field, session, client-certificate
        `bearer:x`: write `bearer`
        `basic:`: write `basic`, or with a name: `header:X-Api-Key`, `basic:alice`, `form-field:password`
        `header:not a header`: write `header`, or with a name: `header:X-Api-Key`, `basic:alice`, `form-field:password`
        there is no scheme ``; known: bearer, basic, header, form-field, session, client-certificate
        "
        );
    }
}
