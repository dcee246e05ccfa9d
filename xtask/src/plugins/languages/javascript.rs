//! componentize-js, in a directory that npm fills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{apt, cache, process};

const PACKAGE: &str = include_str!("../../../../examples/javascript/package.json");
const LOCK: &str = include_str!("../../../../examples/javascript/package-lock.json");
const BUILD: &str = include_str!("../../../../examples/javascript/build.mjs");

/// The oldest node that componentize-js has been seen to work with; Debian 12 has it.
const MINIMUM: u32 = 18;

const PURPOSE: &str = "plugins in JavaScript";

pub(super) struct Tools(PathBuf);

impl Tools {
    pub(super) fn prepare() -> Result<Self> {
        let runs = |program: &str| process::succeeds(Command::new(program).arg("--version"));
        let missing: Vec<&str> = [("node", "nodejs"), ("npm", "npm")]
            .into_iter()
            .filter(|(program, _)| !runs(program))
            .map(|(_, package)| package)
            .collect();
        apt::install(PURPOSE, &missing)?;
        let version = process::output(Command::new("node").arg("--version"))?;
        let major = major(&version).with_context(|| format!("node calls itself {version}"))?;
        ensure!(
            major >= MINIMUM,
            "{PURPOSE}: node is {version}, and {MINIMUM} or later is needed"
        );

        let digest = cache::digest([PACKAGE.as_bytes(), LOCK.as_bytes()]);
        let modules = cache::once(&format!("componentize-js-{digest}"), |directory| {
            for (name, content) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
                fs::write(directory.join(name), content)
                    .with_context(|| format!("cannot write {name}"))?;
            }
            process::run(
                Command::new("npm")
                    .current_dir(directory)
                    // Not `ci`, to which a lock is broken that lacks some other platform's binaries. No package of these needs a
                    // script of its own to be installed.
                    .args(["install", "--no-save", "--ignore-scripts"])
                    .args(["--no-audit", "--no-fund"]),
            )
        })?;
        Ok(Self(modules))
    }

    pub(super) fn componentize(
        &self,
        directory: &Path,
        source: &str,
        wit: &Path,
        component: &Path,
    ) -> Result<Command> {
        // Node looks for modules beside the script.
        let name = format!("build-{}.mjs", cache::digest([BUILD.as_bytes()]));
        let script = self.0.join(name);
        fs::write(&script, BUILD).with_context(|| format!("cannot write {}", script.display()))?;
        let mut command = Command::new("node");
        command
            .current_dir(directory)
            .arg(script)
            .arg(source)
            .arg(wit)
            .arg(component);
        Ok(command)
    }
}

pub(super) fn test() -> Command {
    let mut command = Command::new("node");
    command.arg("--test");
    command
}

pub(super) fn made_by() -> Vec<&'static str> {
    vec![LOCK, BUILD]
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_version_is_understood() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("20"), None);
        assert_eq!(major(""), None);
    }

    /// npm writes it unless told otherwise, as `.npmrc` beside it does.
    #[test]
    fn the_lock_names_no_place_to_download_from() {
        assert!(!LOCK.contains("\"resolved\""));
    }
}
