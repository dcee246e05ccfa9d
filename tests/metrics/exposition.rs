//! A strict reader of OpenMetrics text: what it takes, Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::Answer;

/// All samples of one scrape.
pub(crate) struct Exposition(Vec<Sample>);

pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A metric with its lines of description.
struct Family {
    name: String,
    kind: String,
}

impl Exposition {
    /// Reads a scrape, or says what is wrong with it.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (
                200,
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            )
        );
        let body = answer.body.strip_suffix("# EOF\n").expect("it ends");
        let mut seen = BTreeSet::new();
        let mut series = BTreeSet::new();
        let mut samples: Vec<Sample> = Vec::new();
        let mut family: Option<Family> = None;
        let mut lines = body.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a text");
                assert!(is_name(name), "{line}");
                assert!(
                    text.len() > 10 && !text.contains('\\') && !text.contains(".."),
                    "{line}"
                );
                let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
                let kind = kind.and_then(|kind| kind.strip_prefix(name));
                let kind = kind.expect("the type follows").trim();
                assert!(["counter", "gauge", "histogram", "info"].contains(&kind));
                if let Some(unit) = lines.next_if(|line| line.starts_with("# UNIT ")) {
                    let (named, unit) = unit["# UNIT ".len()..].split_once(' ').expect("a unit");
                    assert!(
                        named == name && name.ends_with(&format!("_{unit}")),
                        "{name}: {unit}"
                    );
                }
                assert!(seen.insert(name), "{name} is there twice");
                let (name, kind) = (name.to_owned(), kind.to_owned());
                family = Some(Family { name, kind });
                continue;
            }
            let sample = Sample::read(line);
            let family = family.as_ref().expect("a description comes first");
            family.check(&sample, line);
            let key = (sample.name.clone(), sample.labels.clone());
            assert!(series.insert(key), "twice: {line}");
            samples.push(sample);
        }
        let all = Self(samples);
        all.check_histograms();
        all
    }

    /// The samples of this name that are not zero, each in a line, without the cloud.
    pub(crate) fn told(&self, name: &str) -> String {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .filter(|sample| sample.name == name && sample.value != 0.0)
            .map(|sample| {
                let labels = sample.labels.iter().filter(|(name, _)| *name != "cloud");
                let labels: Vec<String> = labels
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!("{} {}", labels.join(" "), sample.value)
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }

    /// Every value that a label has.
    pub(crate) fn label_values(&self) -> BTreeSet<&str> {
        let labels = self.0.iter().flat_map(|sample| sample.labels.values());
        labels.map(String::as_str).collect()
    }

    /// Buckets count up to the count, which `+Inf` has.
    fn check_histograms(&self) {
        for count in &self.0 {
            let Some(name) = count.name.strip_suffix("_count") else {
                continue;
            };
            let bucket = format!("{name}_bucket");
            let mut last = (f64::NEG_INFINITY, 0.0);
            for sample in &self.0 {
                let mut labels = sample.labels.clone();
                let bound = labels.remove("le");
                if sample.name == bucket && labels == count.labels {
                    let bound = bound.expect("a bucket has a bound");
                    let bound: f64 = bound.parse().expect("a bound is a number");
                    assert!(bound > last.0 && sample.value >= last.1, "{bucket} {bound}");
                    last = (bound, sample.value);
                }
            }
            assert_eq!(last, (f64::INFINITY, count.value), "{name}");
        }
    }
}

impl Family {
    fn check(&self, sample: &Sample, line: &str) {
        let suffix = sample.name.strip_prefix(&self.name);
        let suffix = suffix.unwrap_or_else(|| panic!("under {}: {line}", self.name));
        let fits: &[&str] = match &*self.kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        assert!(fits.contains(&suffix), "{}: {line}", self.kind);
        let bounded = sample.labels.contains_key("le");
        assert_eq!(bounded, suffix == "_bucket", "{line}");
        assert!(sample.value >= 0.0, "{line}");
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            None => (series, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
        };
        assert!(is_name(name), "{line}");
        let mut read = BTreeMap::new();
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").expect("a quoted value");
            // Nothing that we put into a label would have to be escaped.
            let (value, after) = after.split_once('"').expect("it ends");
            assert!(is_name(label) && !value.contains('\\'), "{line}");
            assert!(read.insert(label.to_owned(), value.to_owned()).is_none());
            rest = match after.strip_prefix(',') {
                Some(more) if !more.is_empty() => more,
                _ => {
                    assert!(after.is_empty(), "{line}");
                    after
                }
            };
        }
        Self {
            name: name.to_owned(),
            labels: read,
            value: value.parse().expect("a number"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.bytes().all(word) && !name.is_empty()
}
