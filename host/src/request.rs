//! What nova sends, as a type.
//!
//! nova posts one JSON object with seven members (`nova/api/metadata/vendordata_dynamic.py`). Members that it may
//! add one day are kept: a plugin finds them in `raw`.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::json_fault;

/// One request of nova.
///
/// Only `instance_id` and `project_id` come from nova itself; the tenant chose all the rest.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The instance's UUID.
    pub instance_id: String,
    /// The project that owns it.
    pub project_id: String,
    /// Absent for an instance that boots from a volume: nova then sends "".
    pub image_id: Option<String>,
    /// The short host name.
    pub hostname: Option<String>,
    /// The user's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Names of the roles of the user who booted the instance; nova joins them with commas.
    pub boot_roles: Vec<String>,
    /// Decoded from base64; absent unless the target may see it.
    pub user_data: Option<Vec<u8>>,
    /// The body, with `user-data` set to null unless the target may see it.
    pub raw: String,
    /// Stands for all of the above: equal for requests that a plugin cannot tell apart.
    pub digest: [u8; 32],
}

/// Why a body is no request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not the JSON that nova sends.
    #[error("the body is not a vendordata request: {0}")]
    Json(String),
    /// nova passes on what its API took as base64; this is not.
    #[error("`user-data` is not base64")]
    UserData,
}

impl Request {
    /// Reads a body. User data is left out unless `user_data` grants it.
    ///
    /// # Errors
    ///
    /// When a member is missing, has the wrong type or stands there twice.
    pub fn read(body: &[u8], user_data: bool) -> Result<Self, Error> {
        let body = std::str::from_utf8(body).map_err(|error| Error::Json(error.to_string()))?;
        let members: Members<'_> =
            serde_json::from_str(body).map_err(|error| Error::Json(json_fault(&error)))?;
        let (raw, user_data) = match members.user_data {
            Some(text) if user_data => {
                let encoded: Option<String> = serde_json::from_str(text.get())
                    .map_err(|error| Error::Json(json_fault(&error)))?;
                let decoded = encoded
                    .filter(|encoded| !encoded.is_empty())
                    .map(|encoded| {
                        // nova stores what the user sent, which may be wrapped as `base64` writes it.
                        let joined: String = encoded.split_ascii_whitespace().collect();
                        BASE64_STANDARD
                            .decode(joined)
                            .map_err(|_not_base64| Error::UserData)
                    });
                (body.to_owned(), decoded.transpose()?)
            }
            Some(text) => (without(body, text.get()), None),
            None => (body.to_owned(), None),
        };
        let mut request = Self {
            instance_id: members.instance_id,
            project_id: members.project_id,
            image_id: members.image_id.filter(|id| !id.is_empty()),
            hostname: members.hostname.filter(|name| !name.is_empty()),
            metadata: members.metadata,
            boot_roles: members
                .boot_roles
                .split(',')
                .map(str::trim)
                .filter(|role| !role.is_empty())
                .map(str::to_owned)
                .collect(),
            user_data,
            raw,
            digest: [0; 32],
        };
        request.digest = request.digest_with(&members.unknown);
        Ok(request)
    }

    /// Each piece goes in with its length, so that no two requests run together to the same bytes.
    fn digest_with(&self, unknown: &BTreeMap<String, &RawValue>) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |piece: &[u8]| {
            hash.update((piece.len() as u64).to_le_bytes());
            hash.update(piece);
        };
        add(self.instance_id.as_bytes());
        add(self.project_id.as_bytes());
        add(self.image_id.as_deref().unwrap_or_default().as_bytes());
        add(self.hostname.as_deref().unwrap_or_default().as_bytes());
        add(&[u8::from(self.user_data.is_some())]);
        add(self.user_data.as_deref().unwrap_or_default());
        add(&(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            add(key.as_bytes());
            add(value.as_bytes());
        }
        add(&(self.boot_roles.len() as u64).to_le_bytes());
        for role in &self.boot_roles {
            add(role.as_bytes());
        }
        for (name, value) in unknown {
            add(name.as_bytes());
            add(value.get().as_bytes());
        }
        hash.finalize().into()
    }
}

/// The body with one value, which is a slice of it, replaced by `null`.
fn without(body: &str, value: &str) -> String {
    let start = value.as_ptr() as usize - body.as_ptr() as usize;
    let (before, after) = (&body[..start], &body[start + value.len()..]);
    [before, "null", after].concat()
}

#[derive(Default)]
struct Members<'a> {
    instance_id: String,
    project_id: String,
    image_id: Option<String>,
    hostname: Option<String>,
    metadata: BTreeMap<String, String>,
    boot_roles: String,
    user_data: Option<&'a RawValue>,
    unknown: BTreeMap<String, &'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// By hand, because serde's derive cannot both keep unknown members and refuse a member that stands there twice: which of
/// the two counts would be for each reader to guess.
struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with `instance-id` and `project-id`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        let mut seen = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "instance-id" => members.instance_id = member(&name, map.next_value())?,
                "project-id" => members.project_id = member(&name, map.next_value())?,
                "image-id" => members.image_id = member(&name, map.next_value())?,
                "hostname" => members.hostname = member(&name, map.next_value())?,
                "metadata" => {
                    members.metadata = member(&name, map.next_value::<Metadata>())?.0;
                }
                "boot-roles" => {
                    let roles: Option<String> = member(&name, map.next_value())?;
                    members.boot_roles = roles.unwrap_or_default();
                }
                "user-data" => {
                    let value: &RawValue = map.next_value()?;
                    if !matches!(value.get().as_bytes().first(), Some(b'"' | b'n')) {
                        return Err(A::Error::custom("`user-data`: expected a string or null"));
                    }
                    members.user_data = Some(value);
                }
                _ => {
                    let value: &RawValue = map.next_value()?;
                    shape::check(value.get()).map_err(|fault| {
                        A::Error::custom(format_args!(
                            "a member that nova does not send today: {fault}"
                        ))
                    })?;
                    members.unknown.insert(name.clone(), value);
                }
            }
            if !seen.insert(name) {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        for (name, value) in [
            ("instance-id", &members.instance_id),
            ("project-id", &members.project_id),
        ] {
            if value.is_empty() {
                return Err(A::Error::custom(format_args!(
                    "`{name}` is missing or empty"
                )));
            }
            if value.len() > 255 || value.contains(char::is_control) {
                return Err(A::Error::custom(format_args!("`{name}` is not an id")));
            }
        }
        Ok(members)
    }
}

/// Names the member, which serde_json's own message does not.
fn member<T, E: serde::de::Error>(name: &str, value: Result<T, E>) -> Result<T, E> {
    value.map_err(|error| E::custom(format_args!("`{name}`: {error}")))
}

/// An object of strings without repeated keys.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands there twice"));
                    }
                }
                Ok(Metadata(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"project-id": "p1", "instance-id": "i1", "image-id": "", "user-data": "I2Nsb3Vk", "hostname": "web", "metadata": {"b": "2", "a": "1"}, "boot-roles": "member,reader", "later": [1, {"user-data": "x"}]}"#;

    fn refusal(body: &str) -> String {
        Request::read(body.as_bytes(), true)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn what_nova_sends_is_read_whole() {
        let request = Request::read(BODY.as_bytes(), true).expect("a request");

        assert_eq!(request.instance_id, "i1");
        assert_eq!(request.project_id, "p1");
        assert_eq!(request.image_id, None);
        assert_eq!(request.hostname.as_deref(), Some("web"));
        assert_eq!(request.metadata.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(request.boot_roles, ["member", "reader"]);
        assert_eq!(request.user_data.as_deref(), Some(&b"#cloud"[..]));
        assert_eq!(request.raw, BODY);
    }

    #[test]
    fn user_data_that_was_not_granted_is_in_no_member() {
        let request = Request::read(BODY.as_bytes(), false).expect("a request");

        assert_eq!(request.user_data, None);
        assert_eq!(request.raw, BODY.replace("\"I2Nsb3Vk\"", "null"));
        let escaped = BODY.replace("\"user-data\": \"I2", "\"user\\u002ddata\": \"I2");
        let request = Request::read(escaped.as_bytes(), false).expect("a request");
        assert!(!request.raw.contains("I2Nsb3Vk"));
    }

    #[test]
    fn the_digest_tells_requests_apart_by_what_a_plugin_sees_and_by_nothing_else() {
        let digest = |body: &str, granted| {
            Request::read(body.as_bytes(), granted)
                .expect("a request")
                .digest
        };
        let other_order = BODY.replace(r#"{"b": "2", "a": "1"}"#, r#"{"a":"1","b":"2"}"#);
        let other_user_data = BODY.replace("I2Nsb3Vk", "I2Nsb3Vl");

        assert_eq!(digest(BODY, false), digest(&other_order, false));
        assert_eq!(digest(BODY, false), digest(&other_user_data, false));
        assert_ne!(digest(BODY, true), digest(&other_user_data, true));
        for (from, to) in [
            ("\"p1\"", "\"p2\""),
            ("\"i1\"", "\"i2\""),
            ("\"image-id\": \"\"", "\"image-id\": \"x\""),
            ("\"web\"", "\"db\""),
            ("\"2\"", "\"3\""),
            ("member,reader", "member"),
            ("[1, ", "[2, "),
            (r#""b": "2", "a": "1""#, r#""b": "2a", "": "1""#),
        ] {
            assert_ne!(
                digest(BODY, false),
                digest(&BODY.replace(from, to), false),
                "{from}"
            );
        }
    }

    #[test]
    fn a_wrong_body_is_refused_with_the_member_at_fault() {
        insta::assert_snapshot!(
            [
                refusal(""),
                refusal("[1]"),
                refusal("null"),
                refusal(r#"{"project-id": "p"}"#),
                refusal(r#"{"project-id": "p", "instance-id": 7}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "metadata": null}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "metadata": {"a": 1}}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "metadata": {"a": "1", "a": "2"}}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "user-data": 1}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "user-data": "%%%"}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "instance-id": "j"}"#),
                refusal(r#"{"project-id": "p", "instance-id": "i", "new": 1, "new": 2}"#),
                refusal(&format!(r#"{{"project-id": "p", "instance-id": "i", "new": {}}}"#, "[".repeat(10_000))),
            ]
            .join("\n"),
        @r"
        the body is not a vendordata request: EOF while parsing a value at line 1 column 0
        the body is not a vendordata request: invalid type: sequence, expected an object with `instance-id` and `project-id` at line 1 column 0
        the body is not a vendordata request: invalid type: null, expected an object with `instance-id` and `project-id` at line 1 column 4
        the body is not a vendordata request: `instance-id` is missing or empty at line 1 column 19
        the body is not a vendordata request: `instance-id`: invalid type: integer, expected a string at line 1 column 36
        the body is not a vendordata request: `metadata`: invalid type: null, expected an object of strings at line 1 column 56
        the body is not a vendordata request: `metadata`: invalid type: integer, expected a string at line 1 column 59
        the body is not a vendordata request: `metadata`: a key stands there twice at line 1 column 72
        the body is not a vendordata request: `user-data`: expected a string or null at line 1 column 55
        `user-data` is not base64
        the body is not a vendordata request: a member stands there twice at line 1 column 59
        the body is not a vendordata request: a member stands there twice at line 1 column 59
        the body is not a vendordata request: expected value at line 1 column 10048
        ");
    }
}
