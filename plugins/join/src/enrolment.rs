//! What is to be done at FreeIPA for one host, and what that means for its instance.
//!
//! The host may be new, waiting for its guest, or enrolled; and between two calls it may change, since
//! nova asks several times at once. So nothing is looked up first: each step is the change itself, and
//! FreeIPA's refusal tells the state. The order of the calls and the `description` are novajoin's, so that
//! either knows the hosts of the other.

use serde_json::{Value, json};
use vendordock_plugin::Error;

use crate::host::Host;
use crate::ipa::{Failure, bounded};

/// FreeIPA's numbers, after its ipalib/errors.py.
const VALIDATION_ERROR: i64 = 3009;
const NOT_FOUND: i64 = 4001;
const DUPLICATE_ENTRY: i64 = 4002;

/// How FreeIPA and the host stand to each other now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// FreeIPA has taken the host's password, and waits for the guest.
    Waiting,
    /// The guest, or an earlier life of it, has used a password before.
    Enrolled,
}

/// Sets the host's password, if the host may still have one. `call` runs a command on that host with
/// these options.
pub(crate) fn enrol<C>(host: &Host, mut call: C) -> Result<Outcome, Error>
where
    C: FnMut(&'static str, Value) -> Result<Value, Failure>,
{
    if let Some(outcome) = set_password(host, &mut call)? {
        return Ok(outcome);
    }
    if add(host, &mut call)? {
        return Ok(Outcome::Waiting);
    }
    // It was not there, and then it was: another request of nova's was faster. Ours comes last, and the
    // last password counts.
    set_password(host, &mut call)?.ok_or_else(|| vanished(host))
}

/// None when there is no such host.
fn set_password<C>(host: &Host, call: &mut C) -> Result<Option<Outcome>, Error>
where
    C: FnMut(&'static str, Value) -> Result<Value, Failure>,
{
    // The description as well: a host that never enrolled may be of an instance that is gone, and
    // whoever deletes the host later goes by what is recorded there.
    let options = json!({
        "userpassword": host.password,
        "description": description(host),
    });
    match call("host_mod", options) {
        Ok(_) => Ok(Some(Outcome::Waiting)),
        Err(failure) => match failure.code() {
            Some(NOT_FOUND) => Ok(None),
            // Most likely "Password cannot be set on enrolled host", but other values are validated too.
            Some(VALIDATION_ERROR) => enrolled(host, failure, call).map(Some),
            _ => Err(failure.into()),
        },
    }
}

/// False when the host is there already.
fn add<C>(host: &Host, call: &mut C) -> Result<bool, Error>
where
    C: FnMut(&'static str, Value) -> Result<Value, Failure>,
{
    let options = json!({
        "userpassword": host.password,
        "description": description(host),
        // The instance's address is not in DNS yet.
        "force": true,
    });
    match call("host_add", options) {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Some(DUPLICATE_ENTRY) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// For a host that takes no password: whether that is because it is enrolled, and for whom.
fn enrolled<C>(host: &Host, refusal: Failure, call: &mut C) -> Result<Outcome, Error>
where
    C: FnMut(&'static str, Value) -> Result<Value, Failure>,
{
    let shown = match call("host_show", json!({})) {
        Ok(shown) => shown,
        Err(failure) if failure.code() == Some(NOT_FOUND) => return Err(vanished(host)),
        Err(failure) => return Err(failure.into()),
    };
    let entry = &shown["result"];
    if entry["has_keytab"] != true || entry["has_password"] == true {
        return Err(refusal.into());
    }
    match Owner::of(entry) {
        Owner::Instance(id) if id == host.instance_id => Ok(Outcome::Enrolled),
        // As novajoin has it. No password is at stake, and it may be this very instance, enrolled by hand.
        Owner::NotRecorded => Ok(Outcome::Enrolled),
        Owner::Instance(id) => Err(taken(host, &format!("instance {}", bounded(&id)))),
        Owner::Unreadable => Err(taken(host, "what its description does not tell")),
    }
}

/// What a host's description says about whose host it is.
enum Owner {
    Instance(String),
    /// No description, or one that is JSON of somebody else.
    NotRecorded,
    /// A description for people.
    Unreadable,
}

impl Owner {
    fn of(entry: &Value) -> Self {
        let Some(description) = entry["description"][0].as_str() else {
            return Self::NotRecorded;
        };
        let Ok(description) = serde_json::from_str::<Value>(description) else {
            return Self::Unreadable;
        };
        match description["novajoin_metadata"]["nova_instance_id"].as_str() {
            Some(id) => Self::Instance(id.to_owned()),
            None => Self::NotRecorded,
        }
    }
}

/// Byte by byte what novajoin writes.
fn description(host: &Host) -> String {
    let id = Value::from(host.instance_id.as_str());
    format!(r#"{{"novajoin_metadata": {{"nova_instance_id": {id}}}}}"#)
}

fn taken(host: &Host, owner: &str) -> Error {
    Error::Forbidden(format!(
        "{} is enrolled at FreeIPA, for {owner}; delete the host there, or choose another name",
        host.fqdn
    ))
}

fn vanished(host: &Host) -> Error {
    Error::Conflict(format!(
        "{} was deleted at FreeIPA while it was enrolled",
        host.fqdn
    ))
}

#[cfg(test)]
mod tests;
