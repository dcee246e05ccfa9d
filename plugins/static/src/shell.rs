//! Shell variables that a script starts with: the one way for a tenant's text into a script.

use std::collections::BTreeMap;

/// What takes `NAME='value'`, by the name of its program.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Whether a script's first line names a shell.
pub(crate) fn takes_variables(content: &str) -> bool {
    let Some((_, interpreter)) = first_line(content) else {
        return false;
    };
    let mut words = interpreter.split_ascii_whitespace();
    let program = words.next().map(file_name);
    let program = match program {
        Some("env") => words.find(|word| !word.starts_with('-')).map(file_name),
        program => program,
    };
    program.is_some_and(|program| SHELLS.contains(&program))
}

/// The script with these variables after its first line.
pub(crate) fn with_variables(content: &str, variables: &BTreeMap<String, String>) -> String {
    let Some((end, _)) = first_line(content) else {
        return content.to_owned();
    };
    let (first, rest) = content.split_at(end);
    let mut script = first.to_owned();
    if !script.ends_with('\n') {
        script.push('\n');
    }
    for (name, value) in variables {
        script.push_str(&format!("{name}={}\n", quoted(value)));
    }
    script.push_str(rest);
    script
}

/// One word to a shell, whatever stands in it. Control characters, which the gateway would refuse, become blanks: a
/// tenant's own name for a server must not keep it from its data.
fn quoted(value: &str) -> String {
    let harmless = |character: char| match character {
        '\n' | '\t' => character,
        control if control.is_control() => ' ',
        other => other,
    };
    let value: String = value.chars().map(harmless).collect();
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// Where the line with `#!` ends, and what follows those two. A boothook has a line of its own before it.
fn first_line(content: &str) -> Option<(usize, &str)> {
    let mut start = 0;
    for line in content.split_inclusive('\n') {
        let end = start + line.len();
        if let Some(interpreter) = line.strip_prefix("#!") {
            return Some((end, interpreter));
        }
        if !line.trim().is_empty() && !line.to_ascii_lowercase().starts_with("#cloud-boothook") {
            return None;
        }
        start = end;
    }
    None
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_is_told_by_its_name() {
        for content in [
            "#!/bin/sh\n",
            "#! /bin/bash -e\n",
            "#!/usr/bin/env -S zsh\n",
            "#!/bin/sh",
            "#cloud-boothook\n#!/bin/dash\n",
        ] {
            assert!(takes_variables(content), "{content}");
        }
        for content in [
            "",
            "echo\n#!/bin/sh\n",
            "#!/usr/bin/env python3\n",
            "#!\n",
            "#!/bin/fish\n",
        ] {
            assert!(!takes_variables(content), "{content}");
        }
    }

    #[test]
    fn variables_stand_after_the_first_line() {
        let variables = BTreeMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), String::new()),
        ]);

        assert_eq!(
            with_variables("#!/bin/sh\necho\n", &variables),
            "#!/bin/sh\nA='1'\nB=''\necho\n"
        );
        assert_eq!(
            with_variables("#cloud-boothook\n#!/bin/sh", &variables),
            "#cloud-boothook\n#!/bin/sh\nA='1'\nB=''\n"
        );
    }

    #[test]
    fn a_shell_reads_each_value_as_it_is_and_runs_none_of_it() {
        let value = "a'b\"c$(touch x)`id`$HOME\\ \n;&|*é'";
        let variables = BTreeMap::from([("V".to_owned(), value.to_owned())]);
        let script = with_variables("#!/bin/sh\nprintf %s \"$V\"\n", &variables);

        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .output()
            .unwrap();

        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
        assert!(output.stderr.is_empty());
        assert_eq!(quoted("a\0b\u{1b}"), "'a b '");
    }
}
