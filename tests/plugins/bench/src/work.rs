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
    fqdn: String,
    instance: String,
    project: String,
    labels: BTreeMap<String, String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_as_long_as_was_asked_for() {
        let settings = serde_json::from_str("{}").unwrap();
        let sent = serde_json::from_str(
            r#"{
                "instance-id": "a2f1b6a4-6b0e-4f0c-9a49-0d5a2f7b0e11",
                "project-id": "7d1c5a2f6b0e4f0c9a490d5a2f7b0e11",
                "hostname": "db-1",
                "metadata": { "label.role": "db", "secret": "no label" }
            }"#,
        )
        .unwrap();

        let answer = answer(&settings, sent);

        assert_eq!(answer.fqdn, "db-1.cloud.example.test");
        assert_eq!(
            answer.labels,
            BTreeMap::from([("label.role".to_owned(), "db".to_owned())])
        );
        let body_bytes = serde_json::to_string(&answer).unwrap().len();
        assert!((950..1100).contains(&body_bytes), "{body_bytes}");
    }
}
