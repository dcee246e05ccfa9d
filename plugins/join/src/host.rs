//! The host entry that an instance asks for.

use vendordock_plugin::{Error, FieldError, Instance};

/// FreeIPA's default of `ipamaxhostnamelength`, and all that Linux takes for a host name.
const MAX_FQDN_LENGTH: usize = 64;
/// Of DNS.
const MAX_LABEL_LENGTH: usize = 63;

/// What FreeIPA is told of an instance.
pub(crate) struct Host {
    pub(crate) fqdn: String,
    pub(crate) instance_id: String,
    /// The one-time password to set, if any is to be set.
    pub(crate) password: String,
}

impl Host {
    /// `randomness` becomes the password.
    pub(crate) fn new(instance: &Instance, domain: &str, randomness: &[u8]) -> Result<Self, Error> {
        let hostname = instance.hostname.as_deref();
        let fqdn = hostname
            .ok_or_else(|| "needed to enrol at FreeIPA, and absent".to_owned())
            .and_then(|hostname| fqdn(hostname, domain));
        Ok(Self {
            fqdn: fqdn.map_err(|message| {
                Error::InvalidRequest(vec![FieldError {
                    pointer: "/hostname".to_owned(),
                    message,
                }])
            })?,
            instance_id: instance.id.clone(),
            password: randomness
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        })
    }
}

/// Whether the tenant wants this instance enrolled. As with novajoin, `yes`, `1` and ` true ` are no
/// `true`.
///
/// Of the instance's own metadata only: an image's properties cannot be looked up yet.
pub(crate) fn asks_to_enrol(instance: &Instance) -> bool {
    let value = instance.metadata_value("ipa_enroll");
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The name as FreeIPA stores it. The hostname is the tenant's, so no message repeats it.
fn fqdn(hostname: &str, domain: &str) -> Result<String, String> {
    if !hostname.split('.').all(is_label) {
        return Err(format!(
            "no host name: it takes letters, digits and inner hyphens, up to {MAX_LABEL_LENGTH} \
             between two dots"
        ));
    }
    let fqdn = format!("{hostname}.{domain}").to_ascii_lowercase();
    if fqdn.len() > MAX_FQDN_LENGTH {
        return Err(format!(
            "too long: with .{domain} it has {} characters, and FreeIPA takes {MAX_FQDN_LENGTH}",
            fqdn.len()
        ));
    }
    Ok(fqdn)
}

fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_LABEL_LENGTH).contains(&label.len())
        && label.bytes().all(is_allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(hostname: Option<&str>, metadata: &[(&str, &str)]) -> Instance {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Instance {
            id: "2f2a0c8e-7a3b-4c57-9d3e-0d5b7f1c9a10".to_owned(),
            project_id: "4a1e".to_owned(),
            hostname: hostname.map(str::to_owned),
            image_id: None,
            user_data: None,
            metadata: metadata.iter().map(pair).collect(),
            boot_roles: Vec::new(),
        }
    }

    fn host(hostname: Option<&str>) -> Result<Host, String> {
        let host = Host::new(&instance(hostname, &[]), "example.test", &[0; 16]);
        host.map_err(|error| {
            let Error::InvalidRequest(faults) = error else {
                panic!("{error:?}");
            };
            let [FieldError { pointer, message }] = &faults[..] else {
                panic!("{faults:?}");
            };
            assert_eq!(pointer, "/hostname");
            message.clone()
        })
    }

    #[test]
    fn only_true_in_any_case_asks_to_enrol() {
        let asks = |value| asks_to_enrol(&instance(Some("vm"), &[("ipa_enroll", value)]));

        assert!(asks("true"));
        assert!(asks("True"));
        assert!(asks("TRUE"));
        for value in ["", "yes", "1", " true ", "truee", "false"] {
            assert!(!asks(value), "{value:?}");
        }
        assert!(!asks_to_enrol(&instance(Some("vm"), &[("enroll", "true")])));
    }

    #[test]
    fn the_name_is_in_the_domain_and_in_lower_case() {
        assert_eq!(host(Some("VM-1")).unwrap().fqdn, "vm-1.example.test");
        assert_eq!(host(Some("a.b.c")).unwrap().fqdn, "a.b.c.example.test");
        assert_eq!(host(Some("0")).unwrap().fqdn, "0.example.test");
    }

    #[test]
    fn what_is_no_host_name_is_refused_and_not_repeated() {
        let long = "a".repeat(64);
        for hostname in [
            "", ".", "a.", ".a", "a..b", "a b!", "-a", "a-", "a_b", "\u{e4}", "a\nb", &long,
        ] {
            let message = host(Some(hostname)).err().unwrap();
            assert_eq!(
                message,
                "no host name: it takes letters, digits and inner hyphens, up to 63 between two dots",
                "{hostname:?}"
            );
        }
        assert_eq!(
            host(None).err().unwrap(),
            "needed to enrol at FreeIPA, and absent"
        );
    }

    #[test]
    fn a_name_that_freeipa_would_not_take_is_refused_before_it_is_asked() {
        assert!(host(Some(&"a".repeat(51))).is_ok());
        assert_eq!(
            host(Some(&"a".repeat(52))).err().unwrap(),
            "too long: with .example.test it has 65 characters, and FreeIPA takes 64"
        );
    }

    #[test]
    fn the_password_is_all_of_the_randomness_in_hexadecimal() {
        let randomness: Vec<u8> = (0..16).map(|index| index * 16 + 1).collect();
        let host = Host::new(&instance(Some("vm"), &[]), "example.test", &randomness).unwrap();

        assert_eq!(
            host.password,
            "0111213141516171 8191a1b1c1d1e1f1".replace(' ', "")
        );
    }
}
