//! Virtual environments for Python programs, kept in the user's cache: one for each set of requirements and each Python.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{apt, cache, process};

/// What is to be in an environment.
pub(crate) struct Environment {
    /// How its directory's name begins.
    pub(crate) name: &'static str,
    /// All that is installed, each in one version: nothing is left to resolve.
    pub(crate) requirements: &'static str,
    /// The oldest Python that will do.
    pub(crate) minimum: (u32, u32),
    /// What it is for, in an error.
    pub(crate) purpose: &'static str,
}

impl Environment {
    /// Its directory. Makes it first if there is none yet.
    pub(crate) fn prepare(&self) -> Result<PathBuf> {
        self.prepare_with(|_environment| Ok(()))
    }

    /// The same, where `fill` adds what pip cannot.
    pub(crate) fn prepare_with(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        // The interpreter is part of the name, since the environment links to it and breaks when it goes.
        let python = self.python()?;
        let digest = cache::digest([self.requirements.as_bytes(), python.as_bytes()]);
        cache::once(&format!("{}-{digest}", self.name), |environment| {
            process::run(
                Command::new("python3")
                    .args(["-I", "-m", "venv"])
                    .arg(environment),
            )?;
            let requirements = environment.join("requirements.txt");
            fs::write(&requirements, self.requirements)
                .with_context(|| format!("cannot write {}", requirements.display()))?;
            let pip = || {
                let mut pip = Command::new(environment.join("bin/python"));
                pip.args(["-I", "-m", "pip", "--no-input"]);
                pip.arg("--disable-pip-version-check");
                pip
            };
            let install = ["install", "--no-deps", "--progress-bar=off"];
            process::run(pip().args(install).arg("--requirement").arg(&requirements))?;
            // Says when a pin is missing.
            process::run(pip().arg("check"))?;
            fill(environment)
        })
    }

    /// The user's `python3`, found to have what it takes: its version without the patch level, and where it really is.
    fn python(&self) -> Result<String> {
        if let Some(python) = self.probe()? {
            return Ok(python);
        }
        apt::install(self.purpose, &["python3-venv"])?;
        self.probe()?
            .context("python3-venv is installed, but python3 has no venv module")
    }

    /// None where Python or its venv module is missing. Debian has the module but takes away `ensurepip`.
    fn probe(&self) -> Result<Option<String>> {
        const PROBE: &str = "import os, sys; print(*sys.version_info[:2], os.path.realpath(sys.executable)); \
             import ensurepip, venv";
        let output = match Command::new("python3").args(["-I", "-c", PROBE]).output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("cannot run python3"),
        };
        let identity = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = identity.split(' ');
        let (Some(Ok(major)), Some(Ok(minor))) = (
            words.next().map(str::parse::<u32>),
            words.next().map(str::parse::<u32>),
        ) else {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("python3 does not work: {stderr}");
        };
        ensure!(
            (major, minor) >= self.minimum,
            "{}: python3 is {major}.{minor}, and {}.{} is needed",
            self.purpose,
            self.minimum.0,
            self.minimum.1
        );
        Ok(output.status.success().then_some(identity))
    }
}
