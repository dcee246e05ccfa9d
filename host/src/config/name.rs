//! What a target and a cloud may be called.

use serde::Deserialize;

/// The name before `@` in nova's `vendordata_dynamic_targets`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TargetName(String);

/// The name of a cloud: a part of the path in nova's configuration there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct CloudName(String);

/// Why a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nova splits its list at commas and a target at the first `@`; the rest would need
    /// quoting in the URL.
    #[error("a name has 1 to 64 letters, digits, `-`, `_` or `.`, and starts with a letter")]
    Characters,
    /// nova would ask us and throw the answer away.
    #[error(
        "nova keeps the name `static` for its own provider and drops what a target of that name answers"
    )]
    Static,
    /// `POST /{target}` would never reach it.
    #[error("`{0}` is a path of the gateway itself")]
    Reserved(String),
}

impl TargetName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for TargetName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
    starts_well && name.len() <= 64 && name.bytes().all(plain)
}

impl TryFrom<String> for TargetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        if !is_plain(&name) {
            return Err(Error::Characters);
        }
        match name.as_str() {
            "static" => Err(Error::Static),
            "v1" | "healthz" | "readyz" | "metrics" => Err(Error::Reserved(name)),
            _ => Ok(Self(name)),
        }
    }
}

impl CloudName {
    /// The cloud of `[auth]` and `[keystone]`, which have no name of their own.
    pub fn unnamed() -> Self {
        Self("default".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The table that the cloud's `auth` and `keystone` are in: the whole file for the one without a name.
    pub fn table(&self) -> Vec<&str> {
        if *self == Self::unnamed() {
            Vec::new()
        } else {
            vec!["clouds", self.as_str()]
        }
    }
}

impl std::borrow::Borrow<str> for CloudName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CloudName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for CloudName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        if is_plain(&name) {
            Ok(Self(name))
        } else {
            Err(Error::Characters)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nova_cannot_split_or_would_drop_is_refused() {
        for name in ["join", "cloud-init", "a.b_c", "J2"] {
            assert!(TargetName::try_from(name.to_owned()).is_ok(), "{name}");
        }
        for name in [
            "", "a@b", "a,b", "a b", "a/b", "2fast", "static", "v1", "healthz", "ä",
        ] {
            assert!(TargetName::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
