//! JSON-RPC as FreeIPA's rpcserver speaks it, and what every command has in common.

use serde_json::{Map, Value, json};

use super::error::PublicError;
use super::{API_VERSION, Call, Ipa, REALM, SERVER_NAME, State, VERSION, commands};

/// Runs one call and answers it. An error is an answer like any other.
pub(super) fn answer(state: &mut State, body: &[u8]) -> Value {
    let mut id = Value::Null;
    let result = read(body, &mut id).and_then(|request| {
        state.calls.push(request.for_the_record());
        match state.fail_next.pop_front() {
            Some(error) => Err(error),
            None => run(state, &request),
        }
    });
    envelope(result, id)
}

/// What anything but a POST of JSON gets: its path is taken for a command.
pub(super) fn not_a_call() -> Value {
    envelope(Err(PublicError::unknown_command("json")), Value::Null)
}

fn envelope(result: Result<Map<String, Value>, PublicError>, id: Value) -> Value {
    let (result, error) = match result {
        Ok(result) => (Value::Object(result), Value::Null),
        Err(error) => (Value::Null, error.to_json()),
    };
    json!({
        "result": result,
        "error": error,
        "id": id,
        "principal": format!("{}@{REALM}", Ipa::USER),
        "version": VERSION,
    })
}

/// A method with its two parameters.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) args: Vec<Value>,
    pub(super) options: Map<String, Value>,
}

impl Request {
    fn for_the_record(&self) -> Call {
        let mut call = Call {
            method: self.method.clone(),
            args: self.args.clone(),
            options: Value::Object(self.options.clone()),
        };
        mask_passwords(&mut call.options);
        // Those of a batch's members.
        call.args.iter_mut().for_each(mask_passwords);
        call
    }
}

fn mask_passwords(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask_passwords),
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "userpassword" => *value = Value::from("********"),
                    _ => mask_passwords(value),
                }
            }
        }
        _ => {}
    }
}

fn read(body: &[u8], id: &mut Value) -> Result<Request, PublicError> {
    let request: Value =
        serde_json::from_slice(body).map_err(|error| PublicError::json(&error.to_string()))?;
    let Value::Object(request) = request else {
        return Err(PublicError::json("Request must be a dict"));
    };
    if let Some(given) = request.get("id") {
        given.clone_into(id);
    }
    request_of(&request)
}

/// Also for the members of a `batch`.
pub(super) fn request_of(request: &Map<String, Value>) -> Result<Request, PublicError> {
    let Some(method) = request.get("method") else {
        return Err(PublicError::json("Request is missing \"method\""));
    };
    let Some(params) = request.get("params") else {
        return Err(PublicError::json("Request is missing \"params\""));
    };
    let Value::Array(params) = params else {
        return Err(PublicError::json("params must be a list"));
    };
    let [args, options] = &params[..] else {
        return Err(PublicError::json("params must contain [args, options]"));
    };
    let Value::Array(args) = args else {
        return Err(PublicError::json("params[0] (aka args) must be a list"));
    };
    let Value::Object(options) = options else {
        return Err(PublicError::json("params[1] (aka options) must be a dict"));
    };
    // `host_add/1` names the version of the command, and there is no other yet.
    let method = method.as_str().unwrap_or_default();
    let method = method.strip_suffix("/1").unwrap_or(method);
    Ok(Request {
        method: method.to_owned(),
        args: args.clone(),
        options: options.clone(),
    })
}

/// Runs a command: the version first, as every command does, then the command itself.
pub(super) fn run(state: &mut State, request: &Request) -> Result<Map<String, Value>, PublicError> {
    let command = commands::find(&request.method)?;
    if let Some(error) = state.rejected.get(&request.method) {
        return Err(error.clone());
    }
    let version = request.options.get("version");
    if let Some(version) = version {
        check_version(version)?;
    }
    let mut result = command.run(state, request)?;
    if version.is_none() {
        result.insert("messages".to_owned(), json!([version_missing()]));
    }
    Ok(result)
}

/// The major number must be the server's; any minor one is taken.
fn check_version(version: &Value) -> Result<(), PublicError> {
    let Some(version) = version.as_str() else {
        return Err(PublicError::conversion("version", "must be Unicode text"));
    };
    let server_major = API_VERSION.split('.').next();
    match version.split_once('.') {
        Some((major, _)) if Some(major) == server_major => Ok(()),
        _ => {
            let uri = format!("https://{SERVER_NAME}/ipa/session/json");
            Err(PublicError::version(version, API_VERSION, &uri))
        }
    }
}

fn version_missing() -> Value {
    json!({
        "type": "warning",
        "name": "VersionMissing",
        "message": format!(
            "API Version number was not sent, forward compatibility not guaranteed. \
             Assuming server's API version, {API_VERSION}"
        ),
        "code": 13001,
        "data": { "server_version": API_VERSION },
    })
}
