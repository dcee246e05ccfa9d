//! What cloud-init in the guest does with an answer, for the person who wonders.
//!
//! Read off the answer's bytes, as cloud-init would: nothing here knows how they were made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::content;
use super::unwrap::{self, Found};
use super::yaml::{self, Node};

/// The target that cloud-init reads.
const READ: &str = "cloud-init";

/// Where scripts end up.
const SCRIPTS: &str = "/var/lib/cloud/instance/scripts/vendor";

/// An explanation of many lines.
pub fn explain(target: &str, body: &str) -> String {
    let mut text = String::new();
    let value = serde_json::from_str::<Value>(body);
    let Ok(value) = value else {
        text.push_str(
            "The answer is not JSON. nova logs a warning and files {} under the target's name.\n",
        );
        return text;
    };
    if target == READ {
        read(&mut text, &value);
    } else {
        other(&mut text, target, &value);
    }
    text
}

/// A target that cloud-init does not look at.
fn other(text: &mut String, target: &str, value: &Value) {
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "cloud-init ignores this answer: of vendor_data2.json it reads the target named `{READ}` and no other.\n\
         It is for programs in the guest that look for it:\n  \
         curl -s http://169.254.169.254/openstack/latest/vendor_data2.json | jq '.[\"{target}\"]'\n\
         or openstack/latest/vendor_data2.json on the config drive."
    );
    if value.get(READ).is_some() {
        let _ = writeln!(
            text,
            "It has a member `{READ}`, which cloud-init does not find in here. Compose a target named `{READ}` of this one: \
             `kind = \"cloud-init\"`, `compose = [\"{target}\"]`."
        );
    }
    if let Value::String(string) = value
        && (unwrap::says_mime(string) || content::by_beginning(string).is_some())
    {
        let _ = writeln!(
            text,
            "It is text that cloud-init would take, were the target's name `{READ}`."
        );
    }
}

/// The target that cloud-init reads.
fn read(text: &mut String, value: &Value) {
    let ignored = match value {
        Value::String(string) => {
            string_value(text, string);
            return;
        }
        Value::Null => {
            text.push_str("null: cloud-init has nothing to do, and says nothing.\n");
            return;
        }
        Value::Array(_) => {
            text.push_str(
                "A list: cloud-init 21.1 fails to boot with one, 24.4 and later stop in their first stage, and a member that \
                 is no string ends the boot of every release before users and keys are set up. Answer with one string: \
                 `kind = \"cloud-init\"` for this target.\n",
            );
            return;
        }
        Value::Object(_) => "an object",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
    };
    let _ = writeln!(
        text,
        "cloud-init ignores this answer with a warning: it is {ignored}, and under this name only a string counts."
    );
    if value.get(READ).is_some() {
        let _ = writeln!(
            text,
            "The member `{READ}` in it does not help: nova has filed the answer under that name already. With `kind = \
             \"{READ}\"` for this target the gateway takes it out."
        );
    }
}

fn string_value(text: &mut String, string: &str) {
    if string.trim().is_empty() {
        text.push_str("An empty string: cloud-init has nothing to do.\n");
        return;
    }
    let found = match unwrap::split(string) {
        Ok(found) => found,
        Err(fault) => {
            let _ = writeln!(
                text,
                "cloud-init logs this as unhandled and goes on without: {fault}."
            );
            return;
        }
    };
    let what = if unwrap::says_mime(string) {
        "a MIME message"
    } else {
        "one text"
    };
    let _ = writeln!(
        text,
        "cloud-init reads {what} of {} bytes with {}:",
        string.len(),
        counted(found.len())
    );
    for (index, found) in found.iter().enumerate() {
        let _ = writeln!(text, "\n{}. {}", index + 1, part(found));
        details(text, found);
    }
    text.push('\n');
    together(text, &found);
    text.push_str(
        "\nIt takes this from the metadata service since cloud-init 21.1, from a config drive since 22.2; older ones ignore it.\n\
         It runs once for each instance id; what it says stays in /var/lib/cloud/instance/vendor-data2.txt, for root to read.\n\
         The tenant's user data can switch it off: `vendor_data2: {enabled: false}`.\n",
    );
}

fn counted(parts: usize) -> String {
    match parts {
        1 => "one part".to_owned(),
        parts => format!("{parts} parts"),
    }
}

/// One part in a line: its name, its handler, its size.
fn part(found: &Found) -> String {
    let name = found.name.as_deref().map(super::part::clean);
    let name = name.unwrap_or_else(|| "without a file name".to_owned());
    let handler = match found.content_type.as_str() {
        content::CLOUD_CONFIG => "cloud-config",
        content::CLOUD_CONFIG_JSONP => "a patch of the cloud-config before it",
        content::JINJA => "a template, rendered with the instance's data",
        content::SCRIPT => "a script",
        content::BOOTHOOK => "a boothook",
        content::INCLUDE => "URLs to include",
        content::INCLUDE_ONCE => "URLs to include, kept after the first boot",
        content::PART_HANDLER => "Python that handles later parts",
        scripts if content::SCRIPTS_BY_TYPE.contains(&scripts) => "a script, run as its type says",
        _ => "nothing that cloud-init handles: it logs a warning",
    };
    let size = found.content.as_ref().map_or(0, String::len);
    format!(
        "{name}: {handler} ({}, {size} bytes)",
        printable(&found.content_type)
    )
}

/// A text of the answer's goes to a terminal.
fn printable(text: &str) -> String {
    let shown = text.chars().take(100);
    shown
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

fn details(text: &mut String, found: &Found) {
    let line = |text: &mut String, words: &str| {
        let _ = writeln!(text, "   {words}");
    };
    if let Err(fault) = found.clone().checked() {
        line(text, &format!("Not good: {fault}."));
        return;
    }
    let content = found.content.as_deref().unwrap_or_default();
    match found.content_type.as_str() {
        content::CLOUD_CONFIG => keys(text, content),
        content::SCRIPT => {
            line(
                text,
                &format!(
                    "Run once, as root, late in the first boot, from {SCRIPTS}, by {}.",
                    printable(
                        content
                            .lines()
                            .next()
                            .unwrap_or_default()
                            .trim_start_matches("#!")
                    )
                ),
            );
            if found.name.is_none() {
                line(
                    text,
                    "It gets the name part-NNN, as do the unnamed scripts of vendor_data.json: one overwrites the other.",
                );
            }
        }
        content::BOOTHOOK => line(text, "Run at every boot, as root, before anything else."),
        content::INCLUDE | content::INCLUDE_ONCE => {
            line(
                text,
                "Fetched in the first stage of the boot, 10 times 5 seconds each. One that cannot be had ends that stage, before \
                 users and keys are set up.",
            );
            for url in content.lines().map(str::trim) {
                if !url.is_empty() && !url.starts_with('#') {
                    line(text, &format!("  {}", printable(url)));
                }
            }
        }
        content::JINJA => line(
            text,
            "What it becomes is known in the guest only. A template that does not render is left out.",
        ),
        _ => {}
    }
}

fn keys(text: &mut String, content: &str) {
    for (key, value) in members(content) {
        let overridden = match value {
            Node::List(values) => format!(
                "a list of {}; a tenant's own replaces it whole",
                values.len()
            ),
            Node::Mapping(_) => "a mapping; a tenant's is merged over it key by key".to_owned(),
            Node::Null => "empty; a tenant's replaces it".to_owned(),
            Node::Scalar(_) | Node::Alias => "a value; a tenant's replaces it".to_owned(),
        };
        let _ = writeln!(text, "   {}: {overridden}.", printable(&key));
    }
}

fn members(content: &str) -> Vec<(String, Node)> {
    match yaml::read(content) {
        Ok(Node::Mapping(members)) => members,
        _ => Vec::new(),
    }
}

/// What the parts do to each other.
fn together(text: &mut String, found: &[Found]) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let scripts = |found: &&Found| found.content_type == content::SCRIPT;
    for name in found
        .iter()
        .filter(scripts)
        .filter_map(|found| found.name.as_deref())
    {
        *names.entry(name).or_default() += 1;
    }
    for (name, times) in names {
        if times > 1 {
            let _ = writeln!(
                text,
                "{times} scripts are called {}: the last overwrites the others.",
                super::part::clean(name)
            );
        }
    }
    let mut setters: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, found) in found.iter().enumerate() {
        if found.content_type != content::CLOUD_CONFIG {
            continue;
        }
        for (key, _) in members(found.content.as_deref().unwrap_or_default()) {
            setters.entry(key).or_default().push(index);
        }
    }
    for (key, setters) in setters {
        let Some((last, _)) = setters.split_last() else {
            continue;
        };
        if setters.len() < 2 {
            continue;
        }
        let own = ["merge_how", "merge_type"];
        let joined = found[*last].merge_type.as_deref();
        let how = match joined {
            Some(super::part::MERGE_TYPE) => "lists are joined, and of values the first counts",
            Some(_) => "joined as the Merge-Type of the last says",
            None if own.contains(&key.as_str()) => continue,
            None => "the last replaces the others",
        };
        let places: Vec<String> = setters
            .iter()
            .map(|index| (index + 1).to_string())
            .collect();
        let _ = writeln!(
            text,
            "Parts {} set {}: {how}.",
            places.join(" and "),
            printable(&key)
        );
    }
}

#[cfg(test)]
mod tests;
