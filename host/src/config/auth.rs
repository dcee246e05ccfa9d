//! `[auth]`: how callers prove who they are, apart from keystone's part in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{Document, Fault, one_or_many};

/// `[auth]`, or `[clouds.NAME.auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// What a caller must have; all of it.
    pub require: Require,
    /// With `require = "none"`, listen beyond loopback all the same.
    pub anyone_who_reaches_the_port_may_ask: bool,
    /// Whose certificates are good.
    pub client_certificate: ClientCertificate,
    /// Static tokens that are good, by a name for the log. To rotate, add the new one, change nova, and take the
    /// old one away.
    pub static_tokens: BTreeMap<String, TokenHash>,
}

/// One proof, or a list of proofs that are needed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Require(Vec<Proof>);

/// What proves a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// nova's token in `X-Auth-Token`, validated as `[keystone]` says.
    Keystone,
    /// A certificate that TLS has checked against `server.tls.client_ca_file`.
    ClientCertificate,
    /// One of the operator's own tokens in `X-Auth-Token`: nova's `auth_type = admin_token`.
    StaticToken,
    /// Nothing.
    None,
}

/// `[auth.client_certificate]`: a certificate passes with any one of these.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientCertificate {
    /// Whole subjects, as `openssl x509 -noout -subject` writes them: `O=Example, CN=nova`.
    pub subjects: Vec<Subject>,
    /// Subject alternative names: a DNS name, an address, or a URI.
    pub names: Vec<String>,
    /// Whoever has a certificate of that authority.
    pub any_of_this_authority: bool,
}

/// A certificate's subject, its parts in their order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Subject(Vec<(String, String)>);

/// The SHA-256 of a token, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenHash([u8; 32]);

impl Require {
    /// Whether this proof is needed.
    pub fn has(&self, proof: Proof) -> bool {
        self.0.contains(&proof)
    }
}

impl Default for Require {
    fn default() -> Self {
        Self(vec![Proof::Keystone])
    }
}

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let proofs: Vec<Proof> = one_or_many::read(deserializer)?;
        let wrong = if proofs.is_empty() {
            "an empty list asks for nothing; to mean that, write \"none\""
        } else if proofs.len() > 1 && proofs.contains(&Proof::None) {
            "\"none\" stands alone"
        } else if proofs.contains(&Proof::Keystone) && proofs.contains(&Proof::StaticToken) {
            "nova sends one token: \"keystone\" and \"static-token\" exclude each other"
        } else {
            return Ok(Self(proofs));
        };
        Err(serde::de::Error::custom(wrong))
    }
}

impl std::fmt::Display for Require {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|proof| proof.as_str()).collect();
        formatter.write_str(&words.join(" and "))
    }
}

impl Proof {
    fn as_str(self) -> &'static str {
        match self {
            Self::Keystone => "a keystone token",
            Self::ClientCertificate => "a client certificate",
            Self::StaticToken => "a static token",
            Self::None => "nothing",
        }
    }
}

impl Subject {
    /// From the parts of a certificate, in their order.
    pub fn new(parts: Vec<(String, String)>) -> Self {
        Self(parts)
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: &str| {
            let (attribute, value) = part.split_once('=')?;
            Some((attribute.trim().to_owned(), value.trim().to_owned()))
        };
        let parts: Option<Vec<_>> = text.split(',').map(part).collect();
        match parts {
            Some(parts) => Ok(Self(parts)),
            None => Err(format!(
                "`{text}` is not a subject; write it as `O=Example, CN=nova`"
            )),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (attribute, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{attribute}={value}")?;
        }
        Ok(())
    }
}

impl TokenHash {
    /// The hash's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        // The text itself is not repeated: it may be the token, put here by mistake.
        let wrong = "not a token's hash; `vendordock token` makes a token with its hash, \
                     `sha256:` and 64 hexadecimal digits";
        let digits = text.strip_prefix("sha256:").ok_or(wrong)?;
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return Err(wrong);
            }
            let pair = std::str::from_utf8(pair).map_err(|_never| wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_no_digit| wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenHash")
    }
}

impl Auth {
    /// What concerns several of the keys; `at` is the table.
    pub(super) fn check(&self, at: &[&str], document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| {
            faults.push(document.fault(&[at, &[key]].concat(), message));
        };
        let certificates = &self.client_certificate;
        let lists_some = !certificates.subjects.is_empty() || !certificates.names.is_empty();
        let wants_certificate = self.require.has(Proof::ClientCertificate);
        if wants_certificate && !lists_some && !certificates.any_of_this_authority {
            fault(
                "client_certificate",
                "nobody would be let in: list `subjects` or `names`, or write `any_of_this_authority = true`",
            );
        }
        if !wants_certificate && (lists_some || certificates.any_of_this_authority) {
            fault(
                "client_certificate",
                "not asked for: add \"client-certificate\" to `require`",
            );
        }
        if lists_some && certificates.any_of_this_authority {
            fault(
                "client_certificate",
                "`any_of_this_authority = true` makes `subjects` and `names` mean nothing",
            );
        }
        let wants_static_token = self.require.has(Proof::StaticToken);
        if wants_static_token && self.static_tokens.is_empty() {
            fault("static_tokens", "nobody would be let in: list one");
        }
        if !wants_static_token && !self.static_tokens.is_empty() {
            fault(
                "static_tokens",
                "not asked for: add \"static-token\" to `require`",
            );
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_compared_part_by_part_however_it_is_spaced() {
        let subject = |text: &str| Subject::try_from(text.to_owned()).expect("a subject");

        assert_eq!(
            subject("O = Example, CN = nova"),
            subject("O=Example,CN=nova")
        );
        assert_ne!(subject("O=Example, CN=nova"), subject("CN=nova, O=Example"));
        assert_ne!(subject("CN=nova"), subject("CN=Nova"));
        assert!(Subject::try_from("nova".to_owned()).is_err());
    }

    #[test]
    fn a_token_written_in_place_of_its_hash_is_refused_and_not_repeated() {
        let wrong = TokenHash::try_from("hunter2-hunter2".to_owned()).expect_err("no hash");
        assert!(!wrong.contains("hunter2"));
        assert!(TokenHash::try_from(format!("sha256:{}", "aF".repeat(32))).is_ok());
        assert!(TokenHash::try_from(format!("sha256:{}", "aF".repeat(31))).is_err());
        assert!(TokenHash::try_from(format!("sha256:{}", "+1".repeat(32))).is_err());
    }
}
