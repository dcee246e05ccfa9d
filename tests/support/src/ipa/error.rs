//! FreeIPA's public errors: number, class, text, and the values that went into the text.

use serde_json::{Map, Value, json};

/// One of the errors that a client is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PublicError {
    pub(super) code: u32,
    pub(super) name: &'static str,
    pub(super) message: String,
    data: Value,
}

/// Number and class, after FreeIPA's ipalib/errors.py.
const ERRORS: &[(u32, &str)] = &[
    (901, "VersionError"),
    (903, "InternalError"),
    (905, "CommandError"),
    (909, "JSONError"),
    (911, "RefererError"),
    (1100, "KerberosError"),
    (1101, "CCacheError"),
    (1104, "TicketExpired"),
    (1200, "SessionError"),
    (2100, "ACIError"),
    (3003, "ZeroArgumentError"),
    (3004, "MaxArgumentError"),
    (3005, "OptionError"),
    (3007, "RequirementError"),
    (3008, "ConversionError"),
    (3009, "ValidationError"),
    (4001, "NotFound"),
    (4002, "DuplicateEntry"),
    (4004, "MalformedServicePrincipal"),
    (4010, "AlreadyInactive"),
    (4019, "DNSNotARecordError"),
    (4026, "AttrValueNotFound"),
    (4031, "EmptyResult"),
    (4201, "MidairCollision"),
    (4202, "EmptyModlist"),
    (4203, "DatabaseError"),
    (4204, "LimitsExceeded"),
    (4205, "ObjectclassViolation"),
    (4211, "DatabaseTimeout"),
    (4301, "CertificateOperationError"),
    (4304, "NonFatalError"),
    (4309, "ProtectedEntryError"),
    (4400, "DNSError"),
];

impl PublicError {
    fn new(code: u32, message: String, data: Value) -> Self {
        let known = ERRORS.iter().find(|(known, _)| *known == code);
        let (_, name) = known.expect("FreeIPA has an error of this code");
        Self {
            code,
            name,
            message,
            data,
        }
    }

    /// For a test that wants one without its cause.
    pub(super) fn by_code(code: u32) -> Self {
        match code {
            2100 => Self::new(
                code,
                "Insufficient access: Insufficient 'add' privilege to add the entry.".to_owned(),
                json!({ "info": "Insufficient 'add' privilege to add the entry." }),
            ),
            4202 => Self::no_modifications(),
            _ => Self::new(code, format!("told to fail with {code}"), json!({})),
        }
    }

    pub(super) fn version(client: &str, server: &str, uri: &str) -> Self {
        Self::new(
            901,
            format!("{client} client incompatible with {server} server at '{uri}'"),
            json!({ "cver": client, "sver": server, "server": uri }),
        )
    }

    pub(super) fn unknown_command(name: &str) -> Self {
        let message = format!("unknown command '{name}'");
        Self::new(905, message, json!({ "name": name }))
    }

    pub(super) fn json(error: &str) -> Self {
        let message = format!("Invalid JSON-RPC request: {error}");
        Self::new(909, message, json!({ "error": error }))
    }

    pub(super) fn too_many_arguments(command: &str, most: usize) -> Self {
        match most {
            0 => Self::new(
                3003,
                format!("command '{command}' takes no arguments"),
                json!({ "name": command }),
            ),
            _ => Self::new(
                3004,
                format!("command '{command}' takes at most {most} argument"),
                json!({ "name": command, "count": most }),
            ),
        }
    }

    pub(super) fn unknown_option(option: &str) -> Self {
        let message = format!("Unknown option: {option}");
        Self::new(3005, message, json!({ "option": option }))
    }

    pub(super) fn required(name: &str) -> Self {
        let message = format!("'{name}' is required");
        Self::new(3007, message, json!({ "name": name }))
    }

    pub(super) fn conversion(name: &str, error: &str) -> Self {
        Self::about_a_value(3008, name, error)
    }

    pub(super) fn validation(name: &str, error: &str) -> Self {
        Self::about_a_value(3009, name, error)
    }

    fn about_a_value(code: u32, name: &str, error: &str) -> Self {
        let message = format!("invalid '{name}': {error}");
        Self::new(code, message, json!({ "name": name, "error": error }))
    }

    pub(super) fn not_found(reason: String) -> Self {
        let data = json!({ "reason": reason });
        Self::new(4001, reason, data)
    }

    pub(super) fn duplicate(kind: &str, name: &str) -> Self {
        let message = format!("{kind} with name \"{name}\" already exists");
        let data = json!({ "message": message });
        Self::new(4002, message, data)
    }

    pub(super) fn malformed_principal(reason: &str) -> Self {
        Self::new(
            4004,
            format!(
                "Service principal is not of the form: \
                 service/fully-qualified host name: {reason}"
            ),
            json!({ "reason": reason }),
        )
    }

    pub(super) fn already_inactive() -> Self {
        Self::new(4010, "This entry is already disabled".to_owned(), json!({}))
    }

    pub(super) fn not_in_dns(host: &str) -> Self {
        Self::new(
            4019,
            format!("Host '{host}' does not have corresponding DNS A/AAAA record"),
            json!({ "hostname": host }),
        )
    }

    pub(super) fn no_modifications() -> Self {
        Self::new(
            4202,
            "no modifications to be performed".to_owned(),
            json!({}),
        )
    }

    /// As the `error` of an answer.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "message": self.message,
            "data": self.data,
            "name": self.name,
        })
    }

    /// As one of the results of a `batch`, which are shaped otherwise.
    pub(super) fn to_batch_result(&self) -> Map<String, Value> {
        let result = json!({
            "error": self.message,
            "error_code": self.code,
            "error_name": self.name,
            "error_kw": self.data,
        });
        match result {
            Value::Object(result) => result,
            _ => Map::new(),
        }
    }
}
