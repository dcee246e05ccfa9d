//! The bounds of a target, as a table: each by the key that changes it, whether or not the file has it.

use crate::config::Target;

/// One line for each, for `vendordock check`.
pub(super) fn table(target: &Target) -> String {
    let breaker = match target.breaker {
        Some(breaker) => breaker.to_string(),
        None => "none: it is called however often it failed".to_owned(),
    };
    let rows = [
        ("timeout_ms", target.timeout_ms.to_string()),
        ("cpu_time_ms", target.cpu_time_ms.to_string()),
        ("memory_bytes", target.memory_bytes.to_string()),
        ("table_elements", target.table_elements.to_string()),
        ("instances", target.instances.to_string()),
        ("handles", target.handles.to_string()),
        ("host_call_bytes", target.host_call_bytes.to_string()),
        ("response_bytes", target.response_bytes.to_string()),
        ("response_depth", target.response_depth.to_string()),
        ("log_lines", target.log_lines.to_string()),
        ("log_bytes", target.log_bytes.to_string()),
        ("concurrent_calls", target.concurrent_calls.to_string()),
        ("waiting_calls", target.waiting_calls.to_string()),
        ("cache_max_ttl_ms", target.cache_max_ttl_ms.to_string()),
        ("breaker", breaker),
    ];
    rows.map(|(key, value)| format!("    {key:<17} {value}\n"))
        .concat()
}
