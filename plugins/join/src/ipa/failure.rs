//! What can go wrong between the gateway and FreeIPA, and whose business it is.

use vendordock_plugin::http::{HttpError, IncomingResponse};
use vendordock_plugin::{Error, FieldError};

use super::header;

/// FreeIPA's numbers, after its ipalib/errors.py.
const VERSION_ERROR: i64 = 901;
const ACI_ERROR: i64 = 2100;

/// Why a command has no result.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// FreeIPA answered with an error, which may tell the state of the host.
    Refused {
        command: &'static str,
        code: i64,
        message: String,
    },
    /// Nothing is known about the host.
    Final(Error),
}

impl Failure {
    /// FreeIPA's number of its error.
    pub(crate) fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Final(_) => None,
        }
    }

    pub(super) fn upstream(message: &str) -> Self {
        Self::Final(Error::Upstream(message.to_owned()))
    }
}

/// For a refusal that nobody could make use of.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (command, code, message) = match failure {
            Failure::Final(error) => return error,
            Failure::Refused {
                command,
                code,
                message,
            } => (command, code, bounded(&message)),
        };
        let text = format!("FreeIPA refuses {command} with error {code}: {message}");
        match code {
            ACI_ERROR => field("/user", text),
            VERSION_ERROR => field("/api_version", text),
            _ => Self::Upstream(text),
        }
    }
}

pub(super) fn misconfigured(pointer: &str, message: String) -> Failure {
    Failure::Final(field(pointer, message))
}

fn field(pointer: &str, message: String) -> Error {
    Error::Misconfigured(vec![FieldError {
        pointer: pointer.to_owned(),
        message,
    }])
}

/// For a request that got no answer.
pub(super) fn unsent(server: &str, error: HttpError) -> Failure {
    let upstream = |what: &str, detail: String| {
        Failure::Final(Error::Upstream(format!(
            "{what} {server}: {}",
            bounded(&detail)
        )))
    };
    match error {
        HttpError::Dns(detail) => upstream("cannot find", detail),
        HttpError::Connect(detail) => upstream("cannot connect to", detail),
        HttpError::Tls(detail) => upstream("no trust in", detail),
        HttpError::Protocol(detail) => upstream("no usable answer from", detail),
        HttpError::ResponseTooLarge(limit) => upstream(
            "too long an answer from",
            format!("more than {limit} bytes"),
        ),
        HttpError::Timeout => Failure::Final(Error::UpstreamTimeout(format!(
            "no answer from {server} in time"
        ))),
        HttpError::Denied(detail) => {
            misconfigured("/servers/0", format!("not granted: {}", bounded(&detail)))
        }
        HttpError::Credential(detail) => {
            misconfigured("/credential", format!("not usable: {}", bounded(&detail)))
        }
        HttpError::InvalidRequest(detail) => Failure::Final(Error::Internal(format!(
            "the gateway refuses a request to {server}: {}",
            bounded(&detail)
        ))),
        HttpError::TooManyRequests => Failure::Final(Error::Internal(
            "the gateway grants fewer requests than an enrolment needs".to_owned(),
        )),
    }
}

/// For an answer with a status that is not part of the protocol.
pub(super) fn unexpected(response: &IncomingResponse) -> Failure {
    match response.status {
        // What FreeIPA itself has against these requests can only be the Referer.
        400 => misconfigured(
            "/servers/0",
            "FreeIPA answers 400: it must be asked by its own host name, not by an alias or an address"
                .to_owned(),
        ),
        503 => {
            let seconds = header(response, "retry-after").and_then(|text| text.parse::<u32>().ok());
            let milliseconds = seconds.map(|seconds| seconds.saturating_mul(1000));
            Failure::Final(Error::Unavailable(milliseconds))
        }
        status => Failure::Final(Error::Upstream(format!("FreeIPA answers {status}"))),
    }
}

/// Of a text from outside as much as a log can bear.
pub(crate) fn bounded(text: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    let printable = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let mut characters = text.chars();
    let mut bounded: String = characters
        .by_ref()
        .take(MAX_CHARACTERS)
        .map(printable)
        .collect();
    if characters.next().is_some() {
        bounded.push_str(" ...");
    }
    bounded
}
