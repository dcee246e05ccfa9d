//! `service_*`, after FreeIPA's ipaserver/plugins/service.py.

use serde_json::{Value, json};

use super::{Result, entry, object};
use crate::ipa::error::PublicError;
use crate::ipa::params::{Kind, Params, key, normalized_host};
use crate::ipa::rpc::Request;
use crate::ipa::{REALM, State};

pub(super) fn add(state: &mut State, request: &Request) -> Result {
    let (principal, host) = principal(&request.args, "service_add")?;
    let known = [("force", Kind::Flag), ("skip_host_check", Kind::Flag)];
    let params = Params::check(&request.options, &known)?;
    if !params.flag("skip_host_check") && state.directory.host(&host).is_none() {
        return Err(PublicError::not_found(format!(
            "The host '{host}' does not exist to add a service to."
        )));
    }
    let full = format!("{principal}@{REALM}");
    if state.directory.service(&principal).is_some() {
        return Err(PublicError::duplicate("service", &full));
    }
    if !params.flag("force") {
        return Err(PublicError::not_in_dns(&host));
    }
    state.directory.add_service(&principal, &host);
    let summary = format!("Added service \"{full}\"");
    let answer = state.directory.show_service(&principal);
    Ok(entry(answer, &full, Some(summary)))
}

/// What could not be added is told beside the result, and is no error.
pub(super) fn add_host(state: &mut State, request: &Request) -> Result {
    let (principal, _) = principal(&request.args, "service_add_host")?;
    let params = Params::check(&request.options, &[("host", Kind::Texts)])?;
    if state.directory.service(&principal).is_none() {
        return Err(PublicError::not_found(format!(
            "{principal}@{REALM}: service not found"
        )));
    }
    let mut completed = 0;
    let mut failed: Vec<[String; 2]> = Vec::new();
    for host in params.texts("host").unwrap_or_default() {
        let host = normalized_host(&host);
        let fault = if state.directory.host(&host).is_none() {
            "no such entry"
        } else if !state.directory.add_manager(&principal, &host) {
            "This entry is already a member"
        } else {
            completed += 1;
            continue;
        };
        failed.push([host, fault.to_owned()]);
    }
    Ok(object(json!({
        "result": state.directory.show_service(&principal),
        "failed": { "managedby": { "host": failed } },
        "completed": completed,
    })))
}

/// The principal without its realm, and the host in it.
fn principal(args: &[Value], command: &str) -> std::result::Result<(String, String), PublicError> {
    let given = key(args, command, "canonical_principal")?;
    let (name, realm) = given.split_once('@').unwrap_or((&given, REALM));
    if realm != REALM {
        return Err(PublicError::malformed_principal("realm mismatch"));
    }
    let Some((service, host)) = name.split_once('/') else {
        return Err(PublicError::malformed_principal("missing service"));
    };
    if service.is_empty() || host.is_empty() {
        return Err(PublicError::malformed_principal("missing service"));
    }
    let host = normalized_host(host);
    Ok((format!("{service}/{host}"), host))
}
