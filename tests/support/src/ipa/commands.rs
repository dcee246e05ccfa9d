//! The commands, each a function from state and request to a result.

mod host;
mod service;

use serde_json::{Map, Value, json};

use super::error::PublicError;
use super::params::Params;
use super::rpc::{Request, request_of, run};
use super::{API_VERSION, State, VERSION};

type Result = std::result::Result<Map<String, Value>, PublicError>;

#[derive(Clone, Copy)]
pub(super) struct Command(fn(&mut State, &Request) -> Result);

impl Command {
    pub(super) fn run(self, state: &mut State, request: &Request) -> Result {
        self.0(state, request)
    }
}

pub(super) fn find(method: &str) -> std::result::Result<Command, PublicError> {
    Ok(Command(match method {
        "batch" => batch,
        "host_add" => host::add,
        "host_del" => host::del,
        "host_disable" => host::disable,
        "host_mod" => host::modify,
        "host_show" => host::show,
        "ping" => ping,
        "service_add" => service::add,
        "service_add_host" => service::add_host,
        _ => return Err(PublicError::unknown_command(method)),
    }))
}

fn ping(_: &mut State, request: &Request) -> Result {
    if !request.args.is_empty() {
        return Err(PublicError::too_many_arguments("ping", 0));
    }
    Params::check(&request.options, &[])?;
    let summary = format!("IPA server version {VERSION}. API version {API_VERSION}");
    Ok(object(json!({ "summary": summary })))
}

/// Runs its members in order; each fails for itself.
fn batch(state: &mut State, request: &Request) -> Result {
    Params::check(&request.options, &[])?;
    // The list may be the one argument, or its members may be the arguments.
    let members = match &request.args[..] {
        [Value::Array(members)] => members.as_slice(),
        members => members,
    };
    let mut results = Vec::with_capacity(members.len());
    for member in members {
        let result =
            member_of_batch(member, &request.options).and_then(|member| run(state, &member));
        results.push(match result {
            Ok(mut result) => {
                result.insert("error".to_owned(), Value::Null);
                result
            }
            Err(error) => error.to_batch_result(),
        });
    }
    Ok(object(
        json!({ "count": results.len(), "results": results }),
    ))
}

/// A member without a version of its own has that of the batch.
fn member_of_batch(
    member: &Value,
    options: &Map<String, Value>,
) -> std::result::Result<Request, PublicError> {
    let Value::Object(member) = member else {
        return Err(PublicError::conversion("methods", "must be dict type"));
    };
    for name in ["method", "params"] {
        if !member.contains_key(name) {
            return Err(PublicError::required(name));
        }
    }
    let mut member = request_of(member)?;
    if let Some(version) = options.get("version")
        && !member.options.contains_key("version")
    {
        member.options.insert("version".to_owned(), version.clone());
    }
    Ok(member)
}

/// What most commands answer.
fn entry(entry: Map<String, Value>, key: &str, summary: Option<String>) -> Map<String, Value> {
    object(json!({ "result": entry, "value": key, "summary": summary }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
