//! What a target answers with, and of what: its kind, the targets that it is composed of, and what nova gets when there is
//! no answer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Document, Fault, Target, TargetName};

/// The target that stock cloud-init reads, and no other.
const READ_BY_CLOUD_INIT: &str = "cloud-init";

/// File names in a message count members with two digits.
const MOST_MEMBERS: usize = 32;

/// Keys that say something of a plugin. A composed target has none of its own.
const OF_A_PLUGIN: [&str; 22] = [
    "breaker",
    "ca_file",
    "concurrent_calls",
    "config",
    "cpu_time_ms",
    "credentials",
    "egress",
    "egress_limits",
    "handles",
    "host_call_bytes",
    "instances",
    "log_bytes",
    "log_lines",
    "memory_bytes",
    "openstack",
    "resolve",
    "response_depth",
    "state",
    "table_elements",
    "user_data",
    "waiting_calls",
    "wasi_http",
];

/// What a target's answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A JSON object, for whoever looks for it in vendor_data2.json.
    #[default]
    Object,
    /// One JSON string with all that cloud-init is to take, or null.
    CloudInit,
}

/// What nova gets in place of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// An error, with which `vendordata_dynamic_failure_fatal` fails a boot.
    #[default]
    Closed,
    /// 200 with nothing in it.
    Empty,
}

/// A target that another is composed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub target: TargetName,
    /// What becomes of the whole when it has no answer.
    pub on_failure: OnMemberFailure,
}

/// What becomes of a composed answer when a member of it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMemberFailure {
    /// It goes without.
    #[default]
    LeaveOut,
    /// There is none.
    Fail,
}

impl Kind {
    /// What an empty answer of this kind is.
    pub fn nothing(self) -> &'static str {
        match self {
            Self::Object => "{}",
            Self::CloudInit => "null",
        }
    }
}

/// A name, or a table with a name. An untagged enum would do, but for its errors.
impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            target: TargetName,
            #[serde(default)]
            on_failure: OnMemberFailure,
        }

        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Member;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a target's name or { target = \"...\", on_failure = \"...\" }")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
                Ok(Member {
                    target: TargetName::deserialize(name.into_deserializer())?,
                    on_failure: OnMemberFailure::default(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                let Table { target, on_failure } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Member { target, on_failure })
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}

/// Targets that nothing answers for. Told by the file alone, so that it is among the mistakes of a file that does not read.
pub(super) fn without_source(document: &Document) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in document.keys(&["targets"]).into_iter().flatten() {
        let table = ["targets", name.as_str()];
        let Some(keys) = document.keys(&table) else {
            continue;
        };
        let answers = |key: &String| matches!(key.as_str(), "component" | "compose");
        if !keys.iter().any(answers) {
            faults.push(document.fault(&table, "the key `component` is missing"));
        }
    }
    faults
}

/// What is wrong with the source of one target's answers.
pub(super) fn check(
    name: &TargetName,
    target: &Target,
    targets: &BTreeMap<TargetName, Target>,
    document: &Document,
) -> Vec<Fault> {
    let at = |key: &'static str| ["targets", name.as_str(), key];
    let mut faults = Vec::new();
    if !target.expose && !targets.values().any(|other| other.composes(name)) {
        let message = "nothing is composed of it, so that with `expose = false` nobody can ask it";
        faults.push(document.fault(&at("expose"), message));
    }
    if target.compose.is_empty() {
        if document.has(&at("compose")) {
            faults.push(document.fault(&at("compose"), "an empty list composes nothing"));
        }
        return faults;
    }
    if target.kind != Kind::CloudInit {
        let message =
            "only an answer for cloud-init can be composed: write `kind = \"cloud-init\"`";
        faults.push(document.fault(&at("compose"), message));
    }
    if target.component.is_some() {
        let message = "a composed target has no plugin of its own: make a target of it, and name that in `compose`";
        faults.push(document.fault(&at("component"), message));
    }
    for key in OF_A_PLUGIN {
        if document.has(&at(key)) {
            let message = "belongs to the targets that this one is composed of";
            faults.push(document.fault(&at(key), message));
        }
    }
    faults.extend(check_members(name, target, targets, document));
    faults
}

fn check_members(
    name: &TargetName,
    target: &Target,
    targets: &BTreeMap<TargetName, Target>,
    document: &Document,
) -> Vec<Fault> {
    let key = ["targets", name.as_str(), "compose"];
    let mut faults = Vec::new();
    let mut fault = |message: String| faults.push(document.fault(&key, message));
    if target.compose.len() > MOST_MEMBERS {
        fault(format!("at most {MOST_MEMBERS} targets"));
    }
    for (index, member) in target.compose.iter().enumerate() {
        let called = &member.target;
        if target.compose[..index]
            .iter()
            .any(|earlier| earlier.target == *called)
        {
            fault(format!("`{called}` stands there twice"));
            continue;
        }
        if called == name {
            fault(format!("`{called}` cannot be composed of itself"));
            continue;
        }
        let Some(composed) = targets.get(called) else {
            let known: Vec<&str> = targets
                .keys()
                .filter(|known| *known != name)
                .map(TargetName::as_str)
                .collect();
            fault(format!(
                "there is no target `{called}`; known: {}",
                known.join(", ")
            ));
            continue;
        };
        if !composed.compose.is_empty() {
            fault(format!(
                "`{called}` is composed itself; name what it is composed of"
            ));
        }
        for cloud in target.clouds.iter().flatten() {
            if !composed.serves(cloud) {
                fault(format!("`{called}` does not serve cloud `{cloud}`"));
            }
        }
        // Whoever may ask the composed target gets the member's answer.
        if composed.accept.is_some() && composed.accept != target.accept {
            fault(format!(
                "`{called}` has an `accept` of its own, which callers of `{name}` would get around; write the same here"
            ));
        }
    }
    faults
}

impl Target {
    /// Whether this one's answer is composed of that one's.
    pub fn composes(&self, name: &TargetName) -> bool {
        self.compose.iter().any(|member| member.target == *name)
    }
}

/// What cloud-init will not see.
pub(super) fn warnings(targets: &BTreeMap<TargetName, Target>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, target) in targets {
        let is_read = name.as_str() == READ_BY_CLOUD_INIT;
        if is_read && target.kind != Kind::CloudInit {
            warnings.push(format!(
                "target {name} answers with an object, which cloud-init ignores under this name: write `kind = \"cloud-init\"`"
            ));
        }
        let is_member = targets.values().any(|other| other.composes(name));
        if !is_read && target.kind == Kind::CloudInit && !is_member {
            warnings.push(format!(
                "target {name} answers with text for cloud-init, which reads the target `{READ_BY_CLOUD_INIT}` and no other"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Targets `join` and `cloudstack` with these lines after them.
    fn load(lines: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().expect("a directory for the file");
        let path = directory.path().join("vendordock.toml");
        let text = format!(
            "auth.require = \"none\"\n[targets.join]\ncomponent = \"join.wasm\"\n[targets.cloudstack]\ncomponent = \"cloudstack.wasm\"\n{lines}"
        );
        std::fs::write(&path, text).expect("a file to read back");
        match Config::load(&path) {
            Ok((config, _)) => Ok(config),
            Err(faults) => Err(faults
                .to_string()
                .replace(&path.display().to_string(), "vendordock.toml")),
        }
    }

    #[test]
    fn members_are_named_with_or_without_their_policy() {
        let config = load(
            r#"[targets.cloud-init]
            kind = "cloud-init"
            compose = ["join", { target = "cloudstack", on_failure = "fail" }]"#,
        )
        .expect("a good file");

        let target = &config.targets["cloud-init"];
        let members: Vec<(&str, OnMemberFailure)> = target
            .compose
            .iter()
            .map(|member| (member.target.as_str(), member.on_failure))
            .collect();
        assert_eq!(
            members,
            [
                ("join", OnMemberFailure::LeaveOut),
                ("cloudstack", OnMemberFailure::Fail)
            ]
        );
        assert_eq!(config.warnings(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_composed_is_told_with_its_line() {
        insta::assert_snapshot!(load(
            r#"[targets.cloud-init]
compose = ["join", "jion", "join", "cloud-init", "both"]
user_data = true

[targets.both]
kind = "cloud-init"
component = "x.wasm"
compose = [{ target = "join", on_failure = "ignore" }]
"#
        ).expect_err("mistakes"), @"vendordock.toml:13: targets.both.compose: unknown variant `ignore`, expected `leave-out` or `fail`");
        insta::assert_snapshot!(load(
            r#"[targets.cloud-init]
compose = ["join", "jion", "join", "cloud-init", "both"]
user_data = true

[targets.both]
kind = "cloud-init"
component = "x.wasm"
compose = ["join"]

[targets.nothing]
kind = "cloud-init"
compose = []

[targets.neither]
expose = false
"#
        ).expect_err("mistakes"), @r#"
        vendordock.toml:7: targets.cloud-init.compose: only an answer for cloud-init can be composed: write `kind = "cloud-init"`
        vendordock.toml:7: targets.cloud-init.compose: there is no target `jion`; known: both, cloudstack, join, neither, nothing
        vendordock.toml:7: targets.cloud-init.compose: `join` stands there twice
        vendordock.toml:7: targets.cloud-init.compose: `cloud-init` cannot be composed of itself
        vendordock.toml:7: targets.cloud-init.compose: `both` is composed itself; name what it is composed of
        vendordock.toml:8: targets.cloud-init.user_data: belongs to the targets that this one is composed of
        vendordock.toml:12: targets.both.component: a composed target has no plugin of its own: make a target of it, and name that in `compose`
        vendordock.toml:17: targets.nothing.compose: an empty list composes nothing
        vendordock.toml:19: targets.neither: the key `component` is missing
        vendordock.toml:20: targets.neither.expose: nothing is composed of it, so that with `expose = false` nobody can ask it
        "#);
    }

    #[test]
    fn a_member_is_not_reached_around_its_own_accept_nor_from_a_cloud_that_it_does_not_serve() {
        let text = r#"
[targets.strict]
component = "x.wasm"
clouds = ["east"]
accept = { roles = ["admin"] }
[targets.cloud-init]
kind = "cloud-init"
clouds = ["east", "west"]
compose = ["strict"]
[clouds.east.keystone]
auth_url = "https://keystone.east.example.test/v3"
username = "vendordock"
password = { file = "password" }
[clouds.west.keystone]
auth_url = "https://keystone.west.example.test/v3"
username = "vendordock"
password = { file = "password" }
"#;
        insta::assert_snapshot!(load(text).expect_err("mistakes"), @r"
        vendordock.toml:14: targets.cloud-init.compose: `strict` does not serve cloud `west`
        vendordock.toml:14: targets.cloud-init.compose: `strict` has an `accept` of its own, which callers of `cloud-init` would get around; write the same here
        ");
    }

    #[test]
    fn a_name_and_a_kind_that_do_not_go_together_are_warned_of() {
        let config = load(
            r#"
[targets.cloud-init]
component = "x.wasm"
[targets.first-boot]
kind = "cloud-init"
component = "x.wasm"
"#,
        )
        .expect("a good file");

        insta::assert_snapshot!(config.warnings().join("\n"), @r#"
        target cloud-init answers with an object, which cloud-init ignores under this name: write `kind = "cloud-init"`
        target first-boot answers with text for cloud-init, which reads the target `cloud-init` and no other
        "#);
    }
}
