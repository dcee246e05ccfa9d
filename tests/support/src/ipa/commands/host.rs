//! `host_*`, after FreeIPA's ipaserver/plugins/host.py.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Result, entry, object};
use crate::ipa::State;
use crate::ipa::directory::Host;
use crate::ipa::error::PublicError;
use crate::ipa::params::{Kind, Params, key, normalized_host};
use crate::ipa::rpc::Request;

/// FreeIPA's default of `ipamaxhostnamelength`.
const MAX_NAME_LENGTH: usize = 64;

/// What a client may store. The real host has more of these.
const ATTRIBUTES: &[(&str, Kind)] = &[
    ("description", Kind::Text),
    ("l", Kind::Text),
    ("macaddress", Kind::Texts),
    ("nshardwareplatform", Kind::Text),
    ("nshostlocation", Kind::Text),
    ("nsosversion", Kind::Text),
    ("userclass", Kind::Texts),
];
const PASSWORD: &[(&str, Kind)] = &[("userpassword", Kind::Text), ("random", Kind::Flag)];

pub(super) fn add(state: &mut State, request: &Request) -> Result {
    let fqdn = name(&request.args, "host_add")?;
    let known = [ATTRIBUTES, PASSWORD, &[("force", Kind::Flag)]].concat();
    let params = Params::check(&request.options, &known)?;
    check_name(&fqdn)?;
    if state.directory.host(&fqdn).is_some() {
        return Err(PublicError::duplicate("host", &fqdn));
    }
    if !params.flag("force") {
        return Err(PublicError::not_in_dns(&fqdn));
    }
    let password = Password::of(&params);
    let mut host = Host {
        otp: password.otp.clone(),
        ..Host::default()
    };
    set_attributes(&mut host, &params);
    state.directory.put_host(&fqdn, host);
    let mut answer = state.directory.show_host(&fqdn);
    password.tell(&mut answer);
    let summary = format!("Added host \"{fqdn}\"");
    Ok(entry(answer, &fqdn, Some(summary)))
}

pub(super) fn modify(state: &mut State, request: &Request) -> Result {
    let fqdn = name(&request.args, "host_mod")?;
    let known = [ATTRIBUTES, PASSWORD].concat();
    let params = Params::check(&request.options, &known)?;
    let Some(host) = state.directory.host_mut(&fqdn) else {
        return Err(not_found(&fqdn));
    };
    let before = host.clone();
    let password = Password::of(&params);
    if let Some(otp) = &password.otp {
        if host.has_keytab && host.otp.is_none() {
            return Err(PublicError::validation(
                "password",
                "Password cannot be set on enrolled host.",
            ));
        }
        host.otp = Some(otp.clone());
    }
    set_attributes(host, &params);
    // A password is stored hashed, so the same one again is a change.
    if *host == before && password.otp.is_none() {
        return Err(PublicError::no_modifications());
    }
    let mut answer = state.directory.show_host(&fqdn);
    password.tell(&mut answer);
    let summary = format!("Modified host \"{fqdn}\"");
    Ok(entry(answer, &fqdn, Some(summary)))
}

pub(super) fn show(state: &mut State, request: &Request) -> Result {
    let fqdn = name(&request.args, "host_show")?;
    Params::check(&request.options, &[("rights", Kind::Flag)])?;
    if state.directory.host(&fqdn).is_none() {
        return Err(not_found(&fqdn));
    }
    Ok(entry(state.directory.show_host(&fqdn), &fqdn, None))
}

/// Takes several names; the first that is not there ends it.
pub(super) fn del(state: &mut State, request: &Request) -> Result {
    let names = match &request.args[..] {
        [Value::Array(names)] => names.as_slice(),
        names => names,
    };
    let known = [("updatedns", Kind::Flag), ("continue", Kind::Flag)];
    let params = Params::check(&request.options, &known)?;
    if names.is_empty() {
        return Err(PublicError::required("hostname"));
    }
    let mut deleted = Vec::new();
    let mut failed = Vec::new();
    for given in names {
        let fqdn = name(std::slice::from_ref(given), "host_del")?;
        if state.directory.delete_host(&fqdn) {
            deleted.push(fqdn);
        } else if params.flag("continue") {
            failed.push(fqdn);
        } else {
            return Err(not_found(&fqdn));
        }
    }
    Ok(object(json!({
        "result": { "failed": failed },
        "summary": format!("Deleted host \"{}\"", deleted.join(",")),
        "value": deleted,
    })))
}

/// Afterwards the same name can be enrolled anew.
pub(super) fn disable(state: &mut State, request: &Request) -> Result {
    let fqdn = name(&request.args, "host_disable")?;
    Params::check(&request.options, &[])?;
    let Some(host) = state.directory.host_mut(&fqdn) else {
        return Err(not_found(&fqdn));
    };
    if !host.has_keytab {
        return Err(PublicError::already_inactive());
    }
    host.has_keytab = false;
    Ok(object(json!({
        "result": true,
        "summary": format!("Disabled host \"{fqdn}\""),
        "value": fqdn,
    })))
}

/// The password that a call sets.
struct Password {
    otp: Option<String>,
    made_here: bool,
}

impl Password {
    fn of(params: &Params<'_>) -> Self {
        let made_here = params.flag("random");
        let otp = match made_here {
            true => Some(Uuid::new_v4().simple().to_string()),
            false => params.text("userpassword"),
        };
        Self { otp, made_here }
    }

    /// The client learns a password only when it does not know it already.
    fn tell(self, answer: &mut Map<String, Value>) {
        if let Some(otp) = self.otp.filter(|_| self.made_here) {
            answer.insert("randompassword".to_owned(), Value::from(otp));
        }
    }
}

fn set_attributes(host: &mut Host, params: &Params<'_>) {
    for (name, _) in ATTRIBUTES {
        match params.texts(name) {
            None => {}
            Some(values) if values.is_empty() => {
                host.attributes.remove(*name);
            }
            Some(values) => {
                host.attributes.insert((*name).to_owned(), values);
            }
        }
    }
}

fn name(args: &[Value], command: &str) -> std::result::Result<String, PublicError> {
    Ok(normalized_host(&key(args, command, "hostname")?))
}

pub(super) fn not_found(fqdn: &str) -> PublicError {
    PublicError::not_found(format!("{fqdn}: host not found"))
}

/// Only what makes a new name: other commands look for whatever they are given.
fn check_name(fqdn: &str) -> std::result::Result<(), PublicError> {
    let refused = |error: &str| Err(PublicError::validation("hostname", error));
    if !fqdn.contains('.') {
        return refused("invalid domain-name: not fully qualified");
    }
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !fqdn.split('.').all(is_label) {
        return refused(
            "invalid domain-name: only letters, numbers, '-' are allowed. \
             DNS label may not start or end with '-'",
        );
    }
    if fqdn.len() > MAX_NAME_LENGTH {
        return refused(&format!("can be at most {MAX_NAME_LENGTH} characters"));
    }
    Ok(())
}
