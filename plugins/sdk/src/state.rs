//! Key-value state that lasts from call to call, private to the target.
//!
//! ```no_run
//! use vendordock_plugin::{Error, state};
//!
//! /// Gives each instance a number of its own, and the same one each time that it is asked for.
//! fn number(instance: &str) -> Result<i64, Error> {
//!     let key = format!("number/{instance}");
//!     if let Some(entry) = state::get(&key)? {
//!         let text = String::from_utf8_lossy(&entry.value);
//!         return text.parse().map_err(|_| Error::Internal(format!("{key} is no number")));
//!     }
//!     let next = state::increment("last", 1, None)?;
//!     match state::compare_and_set(&key, 0, next.to_string().as_bytes(), None) {
//!         Ok(_) => Ok(next),
//!         // Another call was first, and its answer counts.
//!         Err(state::StateError::Conflict(_)) => number(instance),
//!         Err(error) => Err(error.into()),
//!     }
//! }
//! ```

use crate::{Error, FieldError};

pub use crate::bindings::provider::vendordock::vendordata::state::{
    Entry, StateError, compare_and_set, delete, get, increment, list_keys, set,
};

/// Replaces a value by what `change` makes of it, without losing what another call writes meanwhile: then `change` is asked
/// again, with that. Answers the new revision.
///
/// # Errors
///
/// [`StateError`], but for a conflict.
pub fn update(
    key: &str,
    ttl_ms: Option<u64>,
    mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>,
) -> Result<u64, StateError> {
    loop {
        let entry = get(key)?;
        let (before, revision) = match &entry {
            Some(entry) => (Some(&*entry.value), entry.revision),
            None => (None, 0),
        };
        match compare_and_set(key, revision, &change(before), ttl_ms) {
            // Each conflict is a write of another call that went through, and the call's deadline ends this one.
            Err(StateError::Conflict(_)) => {}
            outcome => return outcome,
        }
    }
}

/// For `?` in `provide`: what the operator can mend is told him, and the rest is for nova to ask again.
impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        let misconfigured = |message: &str| {
            Self::Misconfigured(vec![FieldError {
                pointer: String::new(),
                message: message.to_owned(),
            }])
        };
        match error {
            StateError::NotGranted => {
                misconfigured("the plugin needs state: grant the target `state = {}`")
            }
            StateError::QuotaExceeded => misconfigured("the target's quota of state is used up"),
            StateError::Conflict(_) => Self::Conflict("the state was changed meanwhile".to_owned()),
            StateError::InvalidKey => Self::Internal("a key of the state is invalid".to_owned()),
            StateError::Unavailable(_) => Self::Unavailable(None),
        }
    }
}
