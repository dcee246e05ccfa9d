//! The hostile plugins, an entry for each: what it is granted, what it is asked, and what comes of it.

use serde_json::{Value, json};

/// One plugin, or one of the ways in which a plugin misbehaves.
pub(super) struct Row {
    /// What it is called here.
    pub(super) name: &'static str,
    /// Its target. Rows with the same plugin and the same grants may share one.
    pub(super) target: &'static str,
    /// The file; what it does stands in `tests/plugins/`.
    pub(super) plugin: &'static str,
    /// The rest of the target's table.
    pub(super) grants: &'static str,
    /// How many ask at the same time.
    pub(super) at_once: u32,
    /// What the request has as metadata.
    pub(super) metadata: Value,
    /// What nova gets.
    pub(super) answer: &'static str,
    /// What the log's line about it says, among other things.
    pub(super) log: &'static str,
}

const ENDED: &str = r#"504 {"error":{"code":504,"message":"the plugin exceeded the time that this target has (timeout_ms)","title":"Gateway Timeout"}}"#;
const FAILED: &str =
    r#"500 {"error":{"code":500,"message":"the plugin failed","title":"Internal Server Error"}}"#;
const NOT_HANDED_ON: &str = r#"502 {"error":{"code":502,"message":"the plugin's answer would break a guest and is not handed on","title":"Bad Gateway"}}"#;
pub(super) const NOT_LOADED: &str = r#"503 {"error":{"code":503,"message":"this target's plugin could not be loaded: the gateway's log says why","title":"Service Unavailable"}}"#;

/// What nova gets of a plugin that met this limit.
macro_rules! exceeded {
    ($code:literal, $key:literal, $title:literal) => {
        concat!(
            $code,
            r#" {"error":{"code":"#,
            $code,
            r#","message":"the plugin exceeded a limit that this target has ("#,
            $key,
            r#")","title":""#,
            $title,
            r#""}}"#
        )
    };
    ($key:literal) => {
        exceeded!(500, $key, "Internal Server Error")
    };
}

/// In grants and metadata: the origin of `bad_upstream`.
pub(super) const UPSTREAM: &str = "http://upstream";

/// For those that never end by themselves.
const SHORT: &str = "timeout_ms = 300";

/// For those that are slow, but are done some time, on a machine that has other things to do.
const LONG: &str = "timeout_ms = 15000\ncpu_time_ms = 15000";

pub(super) fn rows() -> Vec<Row> {
    [
        time(),
        memory(),
        answers(),
        floods(),
        state(),
        deaths(),
        wasi(),
        egress(),
        components(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn row(name: &'static str, plugin: &'static str, answer: &'static str, log: &'static str) -> Row {
    Row {
        name,
        target: name,
        plugin,
        grants: "",
        at_once: 4,
        metadata: json!({}),
        answer,
        log,
    }
}

const DEADLINE: &str = "the plugin was still running at its deadline";

/// The plainest.
pub(super) fn endless_loop() -> Row {
    Row {
        grants: SHORT,
        ..row("endless-loop", "spin.wasm", ENDED, DEADLINE)
    }
}

/// Those that take time.
fn time() -> Vec<Row> {
    let ended = |name, plugin| Row {
        grants: SHORT,
        ..row(name, plugin, ENDED, DEADLINE)
    };
    vec![
        endless_loop(),
        Row {
            grants: "cpu_time_ms = 100",
            ..row(
                "too-much-cpu-time",
                "spin.wasm",
                exceeded!(504, "cpu_time_ms", "Gateway Timeout"),
                "(cpu_time_ms = 100)",
            )
        },
        ended("bulk-fill", "hostile/bulk-fill.wasm"),
        ended("wait", "hostile/wait.wasm"),
        ended("host-call-flood", "hostile/host-call-flood.wasm"),
        ended("copy-flood", "hostile/copy-flood.wasm"),
        ended("stderr-flood", "hostile/stderr-flood.wasm"),
        row(
            "endless-describe",
            "spin-describe.wasm",
            NOT_LOADED,
            "was still running at its deadline",
        ),
        row(
            "endless-start",
            "hostile/endless-start.wasm",
            NOT_LOADED,
            "was still running at its deadline",
        ),
    ]
}

/// Those that take memory, or depth.
fn memory() -> Vec<Row> {
    vec![
        row(
            "memory-growth",
            "grow.wasm",
            exceeded!("memory_bytes"),
            "(memory_bytes = 67108864)",
        ),
        row(
            "huge-allocation",
            "hostile/huge-allocation.wasm",
            exceeded!("memory_bytes"),
            "(memory_bytes = 67108864)",
        ),
        row(
            "table-growth",
            "hostile/table-growth.wasm",
            exceeded!("table_elements"),
            "(table_elements = 100000)",
        ),
        row(
            "endless-recursion",
            "hostile/endless-recursion.wasm",
            FAILED,
            "call stack exhausted",
        ),
    ]
}

/// Those whose answer would harm whoever reads it.
fn answers() -> Vec<Row> {
    let refused = |name, plugin, log| row(name, plugin, NOT_HANDED_ON, log);
    vec![
        refused(
            "long-answer",
            "hostile/long-answer.wasm",
            "it has 1113090 bytes, and the target's response_bytes allow 65536",
        ),
        row(
            "huge-answer",
            "hostile/huge-answer.wasm",
            exceeded!("host_call_bytes"),
            "(host_call_bytes = 8388608)",
        ),
        refused(
            "deep-answer",
            "hostile/deep-answer.wasm",
            "nested deeper than the target's response_depth allows, 32",
        ),
        refused("invalid-utf8", "hostile/invalid-utf8.wasm", "utf-8"),
        refused("surrogate-bytes", "hostile/surrogate-bytes.wasm", "utf-8"),
        refused(
            "lone-surrogate",
            "hostile/lone-surrogate.wasm",
            "hex escape",
        ),
        refused(
            "duplicate-members",
            "hostile/duplicate-members.wasm",
            "a member stands there twice",
        ),
        refused("not-a-number", "hostile/not-a-number.wasm", "expected"),
        row(
            "stray-answer",
            "hostile/stray-answer.wasm",
            NOT_HANDED_ON,
            "out of bounds",
        ),
    ]
}

/// Those that keep the gateway busy.
fn floods() -> Vec<Row> {
    vec![
        Row {
            grants: LONG,
            at_once: 1,
            ..row("log-flood", "hostile/log-flood.wasm", "200 {}", "answered")
        },
        row(
            "long-log-lines",
            "hostile/long-log-lines.wasm",
            exceeded!("host_call_bytes"),
            "(host_call_bytes = 8388608)",
        ),
        Row {
            grants: r#"
                egress = [{ to = "http://127.0.0.1:9", networks = ["127.0.0.0/8"] }]
                credentials.key = { secret = { file = "key" }, origins = ["http://127.0.0.1:9"] }
            "#,
            ..row(
                "handle-leak",
                "hostile/handle-leak.wasm",
                exceeded!("handles"),
                "(handles = 1000)",
            )
        },
        row(
            "huge-random",
            "hostile/huge-random.wasm",
            FAILED,
            "random.bytes gives at most 4096 bytes, and 4294967295 were asked for",
        ),
        row(
            "huge-wasi-random",
            "hostile/huge-wasi-random.wasm",
            FAILED,
            "exceeds",
        ),
        Row {
            grants: r#"egress = [{ to = "http://127.0.0.1:9", networks = ["127.0.0.0/8"] }]"#,
            ..row(
                "request-flood",
                "hostile/request-flood.wasm",
                r#"200 {"error":7}"#,
                "answered",
            )
        },
    ]
}

/// Those that keep too much, or look at what another target keeps.
fn state() -> Vec<Row> {
    let keeps = |name, steps: &str, answer| Row {
        target: "state",
        grants: "state = { bytes = 1000, keys = 2, value_bytes = 500 }",
        metadata: json!({"do": steps}),
        ..row(name, "state.wasm", answer, "answered")
    };
    vec![
        keeps(
            "state-over-quota",
            r#"[["set-long", "much", 501]]"#,
            r#"200 {"did":[{"error":"StateError::QuotaExceeded"}]}"#,
        ),
        // The target `another` has set it.
        keeps(
            "state-of-another",
            r#"[["get", "secret", null], ["list-keys", "", null, 10]]"#,
            r#"200 {"did":[null,[[],null]]}"#,
        ),
    ]
}

/// Those that do not return.
fn deaths() -> Vec<Row> {
    vec![
        Row {
            metadata: json!({"secret": "Secret in a panic"}),
            ..row("panic", "trap.wasm", FAILED, "the plugin trapped")
        },
        row(
            "forged-handle",
            "hostile/forged-handle.wasm",
            FAILED,
            "handle",
        ),
    ]
}

/// Those that look for a way out.
fn wasi() -> Vec<Row> {
    vec![
        row("exit", "hostile/exit.wasm", FAILED, "exit"),
        row(
            "environment",
            "hostile/environment.wasm",
            r#"200 {"variables":0, "arguments":0}"#,
            "answered",
        ),
        row(
            "files",
            "hostile/files.wasm",
            r#"200 {"directories":0}"#,
            "answered",
        ),
        row(
            "sockets",
            "hostile/sockets.wasm",
            r#"200 {"create":1}"#,
            "answered",
        ),
        row(
            "names",
            "hostile/names.wasm",
            r#"200 {"resolve":9}"#,
            "answered",
        ),
    ]
}

/// Those that send where, or what, they may not.
fn egress() -> Vec<Row> {
    let asks = |name, metadata, answer| Row {
        target: "fetch",
        // Nobody listens but at the first.
        grants: r#"
            egress = [
                { to = "http://upstream", networks = ["127.0.0.0/8"] },
                { to = "http://127.0.0.1:9/in", methods = ["GET"], networks = ["127.0.0.0/8"] },
                "http://*.example.test:9",
            ]
            resolve = { "inside.example.test" = ["127.0.0.1"], "cloud.example.test" = ["169.254.169.254"] }
        "#,
        metadata,
        ..row(name, "fetch.wasm", answer, "answered")
    };
    let denied = |name, url: &str, answer| asks(name, json!({"url": url}), answer);
    let forged = |name, header: &str, answer| {
        asks(
            name,
            json!({"url": "http://127.0.0.1:9/in", "header": header}),
            answer,
        )
    };
    vec![
        denied(
            "unlisted-host",
            "https://evil.example.test/",
            r#"200 {"error":"HttpError::Denied(\"https://evil.example.test is not granted to this target\")"}"#,
        ),
        denied(
            "unlisted-port",
            "http://127.0.0.1:10/",
            r#"200 {"error":"HttpError::Denied(\"http://127.0.0.1:10 is not granted to this target\")"}"#,
        ),
        denied(
            "address-literal",
            "http://169.254.169.254/latest/meta-data",
            r#"200 {"error":"HttpError::Denied(\"http://169.254.169.254 is not granted to this target\")"}"#,
        ),
        forged(
            "forged-host",
            "Host: ipa.example.test",
            r#"200 {"error":"HttpError::InvalidRequest(\"the header `host` is the gateway's to set\")"}"#,
        ),
        forged(
            "forged-authorization",
            "Authorization: Bearer guess",
            r#"200 {"error":"HttpError::InvalidRequest(\"the header `authorization` is the gateway's to set\")"}"#,
        ),
        forged(
            "forged-content-length",
            "Content-Length: 7",
            r#"200 {"error":"HttpError::InvalidRequest(\"the header `content-length` is the gateway's to set\")"}"#,
        ),
        forged(
            "header-with-crlf",
            "X: a\r\nAuthorization: Bearer guess",
            r#"200 {"error":"HttpError::InvalidRequest(\"the header \\\"X\\\" is no header\")"}"#,
        ),
        asks(
            "unlisted-method",
            json!({"url": "http://127.0.0.1:9/in", "method": "DELETE"}),
            r#"200 {"error":"HttpError::Denied(\"DELETE to http://127.0.0.1:9 is not granted to this target\")"}"#,
        ),
        denied(
            "unlisted-path",
            "http://127.0.0.1:9/in/../out",
            r#"200 {"error":"HttpError::Denied(\"this path of http://127.0.0.1:9 is not granted to this target\")"}"#,
        ),
        denied(
            "loopback-by-name",
            "http://inside.example.test:9/",
            r#"200 {"error":"HttpError::Denied(\"http://inside.example.test:9 leads to no address that is granted to this target\")"}"#,
        ),
        denied(
            "metadata-service-by-name",
            "http://cloud.example.test:9/",
            r#"200 {"error":"HttpError::Denied(\"http://cloud.example.test:9 leads to no address that is granted to this target\")"}"#,
        ),
        asks(
            "forbidden-redirect",
            json!({"url": "http://upstream/redirect", "max_redirects": "5"}),
            r#"200 {"error":"HttpError::Denied(\"http://169.254.169.254 is not granted to this target\")"}"#,
        ),
        Row {
            grants: r#"
                wasi_http = true
                egress = [{ to = "http://127.0.0.1:9", networks = ["127.0.0.0/8"] }]
            "#,
            metadata: json!({"scheme": "http", "authority": "127.0.0.1:9", "path": "/", "count": "1000"}),
            ..row(
                "thousand-requests-at-once",
                "wasi-fetch.wasm",
                exceeded!("handles"),
                "(handles = 1000)",
            )
        },
        asks(
            "dripping-upstream",
            json!({"url": "http://upstream/drip", "timeout_ms": "200"}),
            r#"200 {"error":"HttpError::Timeout"}"#,
        ),
        Row {
            // To send that much takes the test itself a processor.
            at_once: 1,
            ..asks(
                "gibibyte-upstream",
                json!({"url": "http://upstream/gibibyte"}),
                r#"200 {"error":"HttpError::ResponseTooLarge(1048576)"}"#,
            )
        },
    ]
}

/// Those that are no plugins.
fn components() -> Vec<Row> {
    let refused = |name, plugin, log| row(name, plugin, NOT_LOADED, log);
    vec![
        refused(
            "impure-start",
            "hostile/impure-start.wasm",
            "clock.now may not be called from Describe",
        ),
        refused(
            "wrong-world",
            "hostile/wrong-world.wasm",
            "it does not fit the world vendordata-provider of vendordock:vendordata@0.1",
        ),
        refused(
            "core-module",
            "hostile/core-module.wasm",
            "is a core module",
        ),
        refused(
            "precompiled",
            "precompiled.wasm",
            "is precompiled; only WebAssembly components are loaded",
        ),
        refused("truncated", "truncated.wasm", "does not compile"),
        refused(
            "too-large",
            "too-large.wasm",
            "is larger than 4194304 bytes (component_bytes)",
        ),
    ]
}
