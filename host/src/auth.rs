//! Who is calling.
//!
//! nova proves itself with a keystone token. It is the only thing between a tenant and another tenant's secrets: whoever
//! gets past here may ask for any instance.

mod keystone;

use std::sync::Arc;

use axum::http::HeaderMap;

pub use self::keystone::{Error as KeystoneError, Keystone};

/// A caller whose token is good and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's user, by id.
    pub user_id: String,
    /// The token's project, by id.
    pub project_id: Option<String>,
}

/// How this gateway lets callers in.
pub enum Auth {
    /// By a token that keystone validates.
    Keystone(Arc<Keystone>),
    /// Anyone.
    None,
}

/// Why a caller was turned away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nova is not configured to send a token at all.
    #[error("no X-Auth-Token header")]
    NoToken,
    /// Keystone knows the token no longer, or never did. nova fetches a new one and asks again.
    #[error("the token is invalid or expired")]
    Rejected,
    /// The token is good and proves the wrong thing. Another one would prove the same.
    #[error(
        "user {user_id} with roles {roles:?} in project {project} is not accepted; [keystone.accept] says who is"
    )]
    WrongCaller {
        /// The token's user, by id.
        user_id: String,
        /// The roles it holds.
        roles: Vec<String>,
        /// The project it is scoped to, by name and domain.
        project: String,
    },
    /// Keystone does not let the gateway itself in, or not validate tokens.
    #[error("keystone refuses the gateway's own account")]
    Account(#[source] KeystoneError),
    /// Keystone gave no answer, so nothing is known about the token.
    #[error("cannot ask keystone")]
    Unreachable(#[source] KeystoneError),
    /// Keystone's answer cannot be read, so nothing is known about the token.
    #[error("cannot read keystone's answer")]
    Nonsense(#[source] KeystoneError),
}

impl Auth {
    /// Lets a request in, or not. A token that was validated before costs one look-up.
    ///
    /// # Errors
    ///
    /// When the caller is turned away.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Arc<Error>> {
        let keystone = match self {
            Self::None => return Ok(None),
            Self::Keystone(keystone) => keystone,
        };
        let token = headers
            .get("x-auth-token")
            .map(|value| value.as_bytes())
            .filter(|token| !token.is_empty())
            .ok_or(Error::NoToken)?;
        keystone.validate(token).await.map(Some)
    }
}
