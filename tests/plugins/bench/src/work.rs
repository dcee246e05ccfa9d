//! The work that is measured: read a request as JSON, form a name, pick metadata, answer a kilobyte.
//!
//! `host/benches/baseline.rs` compiles this file natively, so that both do the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What nova sends, as far as it matters here.
#[derive(Deserialize)]
pub(crate) struct Sent<'a> {
    #[serde(rename = "instance-id", borrow)]
    instance_id: &'a str,
    #[serde(rename = "project-id", borrow)]
    project_id: &'a str,
    hostname: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct Settings {
    #[serde(default = "Settings::domain")]
    pub(crate) domain: String,
    /// About how long the answer is to be.
    #[serde(default = "Settings::body_bytes")]
    pub(crate) body_bytes: usize,
    /// How long the gateway may keep an answer; not at all, when 0.
    #[serde(default)]
    #[allow(dead_code, reason = "native code has no cache")]
    pub(crate) ttl_ms: u32,
}

impl Settings {
    fn domain() -> String {
        "cloud.example.test".to_owned()
    }

    fn body_bytes() -> usize {
        1024
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Answer {
    pub(crate) fqdn: String,
    instance: String,
    project: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Stands for a certificate or a script: text that makes an answer as long as real ones are.
    payload: String,
}

/// The answer to one request.
pub(crate) fn answer(settings: &Settings, sent: Sent<'_>) -> Answer {
    let fqdn = format!("{}.{}", sent.hostname, settings.domain);
    let mut labels = sent.metadata;
    labels.retain(|key, _| key.starts_with("label."));
    Answer {
        fqdn,
        instance: sent.instance_id.to_owned(),
        project: sent.project_id.to_owned(),
        labels,
        // The rest is about what all else takes.
        payload: "x".repeat(settings.body_bytes.saturating_sub(180)),
    }
}
