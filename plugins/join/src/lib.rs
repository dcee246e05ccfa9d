//! Enrols instances at FreeIPA.
//!
//! An instance that asks for it (`ipa_enroll=true` in its metadata) gets a host entry there and a
//! one-time password, with which `ipa-client-install` in the guest fetches the host's keytab. Metadata
//! keys, answer and what is stored in FreeIPA are those of novajoin, so that one can follow the other in
//! a running cloud. What is not, is that a password is answered only after FreeIPA has taken it: a
//! guest with any other fails, and a guest without one believes that it is enrolled already.
//!
//! `enrolment` decides, `ipa` speaks the protocol; neither knows the gateway, which enters here.

mod answer;
mod enrolment;
mod host;
mod ipa;
mod settings;

use vendordock_plugin::credentials::{self, CredentialError};
use vendordock_plugin::log::{self, Level};
use vendordock_plugin::{
    Error, FieldError, Manifest, Plugin, Request, Response, config, export, http, random,
};

use answer::{FOR_A_MINUTE, nothing, respond};
use enrolment::{Outcome, enrol};
use host::Host;
use ipa::Client;
use settings::Settings;

struct Join;

impl Plugin for Join {
    fn describe() -> Manifest {
        Manifest {
            name: "join".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Enrols instances at FreeIPA".to_owned(),
            config_schema: settings::SCHEMA.to_owned(),
            response_schema: Some(answer::SCHEMA.to_owned()),
            wants_credentials: vec![settings::DEFAULT_CREDENTIAL.to_owned()],
            wants_urls: vec!["https://<server>/ipa/session/*".to_owned()],
            cache: FOR_A_MINUTE,
            // Each run sets another password, and only the last one counts.
            idempotent: false,
            extra: None,
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        if !host::asks_to_enrol(&request.instance) {
            return Ok(nothing());
        }
        let host = Host::new(&request.instance, &settings.domain, &random::bytes(16))?;
        let credential =
            credentials::open(&settings.credential).map_err(|error| no_credential(&error))?;
        let mut client = Client::new(&settings, |request, scheme| {
            http::send_with(&request, &credential, &scheme)
        });
        let outcome = enrol(&host, |command, options| {
            client.call(command, &host.fqdn, options)
        });
        record(&host, &outcome);
        respond(&host, settings.realm(), &outcome?)
    }
}

export!(Join);

fn no_credential(error: &CredentialError) -> Error {
    let message = match error {
        CredentialError::NotGranted => "no credential of this name is granted".to_owned(),
        CredentialError::Opaque => "the credential cannot be used for a log-in".to_owned(),
        CredentialError::Unavailable(reason) => format!("the credential is unavailable: {reason}"),
    };
    Error::Misconfigured(vec![FieldError {
        pointer: "/credential".to_owned(),
        message,
    }])
}

/// Who was given a password, and when, is to be found afterwards. The password is not.
fn record(host: &Host, outcome: &Result<Outcome, Error>) {
    let (level, message) = match outcome {
        Ok(Outcome::Waiting) => (Level::Info, "set a one-time password"),
        Ok(Outcome::Enrolled) => (Level::Info, "is enrolled already"),
        // Nothing of this error but its status would be in the log.
        Err(Error::Unavailable(_)) => (Level::Warn, "FreeIPA answered 503, not now"),
        Err(_) => return,
    };
    log::emit(level, message, &[("host".to_owned(), host.fqdn.clone())]);
}
