//! componentize-py, in a virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::python::Environment;

const ENVIRONMENT: Environment = Environment {
    name: "componentize-py",
    requirements: include_str!("../../../../examples/python/requirements.txt"),
    // The oldest that reads the examples, whose tests run in it. Components bring a Python of their own.
    minimum: (3, 10),
    purpose: "plugins in Python",
};

pub(super) struct Tools(PathBuf);

impl Tools {
    pub(super) fn prepare() -> Result<Self> {
        Ok(Self(ENVIRONMENT.prepare()?))
    }

    pub(super) fn componentize(
        &self,
        directory: &Path,
        source: &str,
        wit: &Path,
        component: &Path,
    ) -> Command {
        let mut command = Command::new(self.0.join("bin/componentize-py"));
        command
            .current_dir(directory)
            // It looks for packages in the environment that is active, and there are none in this one.
            .env("VIRTUAL_ENV", &self.0)
            .args(["--quiet", "--world", "vendordata-provider", "--wit-path"])
            .arg(wit)
            .args(["componentize", source.trim_end_matches(".py"), "--output"])
            .arg(component);
        command
    }

    pub(super) fn test(&self) -> Command {
        let mut command = Command::new(self.0.join("bin/python"));
        // Without leaving compiled files behind.
        command.args(["-B", "-m", "unittest"]);
        command
    }
}

pub(super) fn made_by() -> Vec<&'static str> {
    vec![ENVIRONMENT.requirements]
}
