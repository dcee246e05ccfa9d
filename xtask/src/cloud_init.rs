//! Real cloud-init, for the tests to boot guests with: Debian's package, unpacked where it touches nothing.
//!
//! A package of the distribution rather than one of PyPI, because there is none: cloud-init is released to distributions only.
//! What it needs comes from PyPI into a virtual environment, as nova's and keystone's does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::python::Environment;

const ENVIRONMENT: Environment = Environment {
    name: "cloud-init",
    requirements: include_str!("../../tests/cloud-init/requirements.txt"),
    // The oldest that the packages there support.
    minimum: (3, 11),
    purpose: "cloud-init, which the tests boot guests with",
};

/// The environment's directory, for `VENDORDOCK_CLOUD_INIT`. Makes it first if there is none yet.
pub(crate) fn environment() -> Result<PathBuf> {
    ENVIRONMENT.prepare_with(|environment| {
        let package = package(environment)?;
        let root = environment.join("root");
        process::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
        let modules = root.join("usr/lib/python3/dist-packages");
        // Python reads such a file in the directory of its packages, and looks where it points as well.
        let packages = packages(environment)?;
        let pointer = packages.join("cloud-init.pth");
        fs::write(&pointer, format!("{}\n", modules.display()))
            .with_context(|| format!("cannot write {}", pointer.display()))
    })
}

/// Downloads the package. To look up where it is takes lists of packages, which the machine may not have; they are then
/// fetched for this alone, since to refresh the machine's own would take root.
fn package(environment: &Path) -> Result<PathBuf> {
    let directory = environment.join("package");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let download = |options: &[String]| {
        let mut apt_get = Command::new("apt-get");
        apt_get
            .args(options)
            .args(["download", "cloud-init"])
            .current_dir(&directory);
        process::run(&mut apt_get)
    };
    if download(&[]).is_err() {
        let lists = environment.join("lists");
        fs::create_dir_all(lists.join("partial"))
            .with_context(|| format!("cannot make {}", lists.display()))?;
        let cache = environment.join("apt");
        fs::create_dir_all(cache.join("archives/partial"))
            .with_context(|| format!("cannot make {}", cache.display()))?;
        let options = [
            format!("-oDir::State::Lists={}", lists.display()),
            format!("-oDir::Cache={}", cache.display()),
        ];
        process::run(Command::new("apt-get").args(&options).arg("update")).context(
            "the tests boot guests with cloud-init, which comes from Debian's or Ubuntu's packages",
        )?;
        download(&options)?;
    }
    let mut files = fs::read_dir(&directory)?;
    match files.next() {
        Some(file) => Ok(file?.path()),
        None => bail!("apt-get has downloaded no package of cloud-init"),
    }
}

/// Where the environment has its packages.
fn packages(environment: &Path) -> Result<PathBuf> {
    let mut python = Command::new(environment.join("bin/python"));
    let program = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let path = process::output(python.args(["-I", "-c", program]))?;
    Ok(path.into())
}
