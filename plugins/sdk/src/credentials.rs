//! Secrets by name, used without being seen.
//!
//! ```no_run
//! use vendordock_plugin::credentials::{self, Digest};
//! use vendordock_plugin::Error;
//!
//! /// A signature that the upstream makes from the same text and the same secret.
//! fn signature(text: &str) -> Result<Vec<u8>, Error> {
//!     let key = credentials::open("api")?;
//!     Ok(key.hmac(Digest::Sha256, text.as_bytes())?)
//! }
//! ```
//!
//! A handle is the secret as it was when it was opened: a call that logs in with it and goes on with the session is not
//! disturbed when the operator replaces the secret meanwhile. [`Credential::version`] tells one content from another, for
//! what a plugin keeps under it in `state`.

use crate::{Error, FieldError};

pub use crate::bindings::provider::vendordock::vendordata::credentials::{
    Credential, CredentialError, Digest, open,
};

/// A credential that is not granted, or not for this use, is the operator's to grant: `?` says so. The text names nothing, so
/// a plugin with several credentials has more to tell.
impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        let message = match error {
            CredentialError::NotGranted => {
                "a credential is not granted to this target, or not for signatures".to_owned()
            }
            CredentialError::Opaque => {
                "a credential may not be seen by the plugin, which needs that".to_owned()
            }
            CredentialError::Unavailable(reason) => {
                format!("a credential is unavailable: {reason}")
            }
        };
        Error::Misconfigured(vec![FieldError {
            pointer: String::new(),
            message,
        }])
    }
}
