//! Debian's packages, installed where that needs no questions.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs packages. Where there is no right to do so, the error says what to type.
pub(crate) fn install(purpose: &str, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !process::succeeds(Command::new("apt-get").arg("--version")) {
        bail!("{purpose}: missing here, and this is no Debian to install it: {list}");
    }
    // No package is to go for these to come.
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    let Some((program, arguments)) = as_root() else {
        bail!(
            "{purpose}: packages are missing, and there is no right to install them. As root: \
             apt-get update && apt-get {} {list}",
            install.join(" ")
        );
    };
    let apt_get = || {
        let mut command = Command::new(program);
        command.args(arguments);
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    };
    eprintln!("{purpose}: installing {list}");
    process::run(apt_get().arg("update"))?;
    process::run(apt_get().args(install).args(packages))
        .with_context(|| format!("{purpose}: cannot install {list}"))
}

/// How to run a command as root, with variables, and without a question.
fn as_root() -> Option<(&'static str, &'static [&'static str])> {
    let is_root = process::output(Command::new("id").arg("--user")).is_ok_and(|id| id == "0");
    if is_root {
        Some(("env", &[]))
    } else if process::succeeds(Command::new("sudo").args(["--non-interactive", "true"])) {
        Some(("sudo", &["--non-interactive", "env"]))
    } else {
        None
    }
}
