//! What nova gets, and for how long it stays right.

use serde::Serialize;
use vendordock_plugin::{CacheHint, CacheScope, Error, Response};

use crate::enrolment::Outcome;
use crate::host::Host;

/// Of the answer, for whoever reads `vendor_data2.json`.
pub(crate) const SCHEMA: &str = include_str!("answer.schema.json");

/// Nova asks six times for one config drive, and at each read of the metadata service, and each run of
/// the plugin would make the passwords before it worthless. So the first answer is kept as long as a
/// guest may take to boot and enrol. Not much longer, since an instance whose host was deleted in
/// FreeIPA, to be enrolled anew, waits for the end of it. Never beyond: by then the password is used up,
/// or FreeIPA must say so.
const FOR_A_BOOT: CacheHint = CacheHint {
    scope: CacheScope::Instance,
    ttl_ms: 10 * 60 * 1000,
    stale_if_error_ms: 0,
};

/// For an answer without a password, which is cheap to find again.
pub(crate) const FOR_A_MINUTE: CacheHint = CacheHint {
    scope: CacheScope::Instance,
    ttl_ms: 60 * 1000,
    stale_if_error_ms: 0,
};

/// The members in novajoin's order.
#[derive(Serialize)]
struct Answer<'a> {
    hostname: &'a str,
    krb_realm: String,
    /// Without it, a guest knows that it is enrolled already.
    #[serde(skip_serializing_if = "Option::is_none")]
    ipaotp: Option<&'a str>,
}

pub(crate) fn respond(host: &Host, realm: String, outcome: &Outcome) -> Result<Response, Error> {
    let (ipaotp, cache) = match outcome {
        Outcome::Waiting => (Some(host.password.as_str()), FOR_A_BOOT),
        Outcome::Enrolled => (None, FOR_A_MINUTE),
    };
    let mut response = Response::json(&Answer {
        hostname: &host.fqdn,
        krb_realm: realm,
        ipaotp,
    })?;
    response.secret = ipaotp.is_some();
    response.cache = Some(cache);
    Ok(response)
}

/// For an instance that does not ask to be enrolled.
pub(crate) fn nothing() -> Response {
    Response {
        cache: Some(FOR_A_MINUTE),
        ..Response::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &Outcome) -> Response {
        let host = Host {
            fqdn: "vm.example.test".to_owned(),
            instance_id: "2f2a".to_owned(),
            password: "00ff".to_owned(),
        };
        respond(&host, "EXAMPLE.TEST".to_owned(), outcome).unwrap()
    }

    #[test]
    fn a_guest_that_is_to_enrol_gets_the_password_after_name_and_realm() {
        assert_eq!(
            answer(&Outcome::Waiting).body,
            r#"{"hostname":"vm.example.test","krb_realm":"EXAMPLE.TEST","ipaotp":"00ff"}"#
        );
    }

    #[test]
    fn a_guest_that_is_enrolled_gets_no_password() {
        assert_eq!(
            answer(&Outcome::Enrolled).body,
            r#"{"hostname":"vm.example.test","krb_realm":"EXAMPLE.TEST"}"#
        );
    }

    #[test]
    fn a_guest_that_does_not_ask_gets_an_empty_object() {
        assert_eq!(nothing().body, "{}");
    }

    #[test]
    fn a_password_stays_the_same_while_a_guest_boots_and_never_stands_in_for_a_newer_one() {
        let cache = answer(&Outcome::Waiting).cache.unwrap();
        assert_eq!(cache.scope, CacheScope::Instance);
        assert_eq!((cache.ttl_ms, cache.stale_if_error_ms), (600_000, 0));
    }

    #[test]
    fn an_answer_without_a_password_is_soon_found_anew() {
        for response in [answer(&Outcome::Enrolled), nothing()] {
            let cache = response.cache.unwrap();
            assert_eq!(cache.scope, CacheScope::Instance);
            assert_eq!((cache.ttl_ms, cache.stale_if_error_ms), (60_000, 0));
        }
    }
}
