//! Debian's compiler, with a standard library built from Debian's sources.
//!
//! Debian 12 keeps, for the sake of its browsers, a recent compiler apart from its own old one
//! (`rustc-web`), and its sources, but no library for our target. cargo can build that from the
//! sources (`-Zbuild-std`). It takes a minute, so the result is kept, and an ordinary build needs
//! nothing unstable.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::toolchain::{TARGET, has_standard_library, same_paths_everywhere};

pub(super) const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
/// rustup's linker would serve as well. With this one a component's bytes are the same everywhere.
const LINKER: &str = "/usr/bin/wasm-ld";
const COMPILER: &str = "rustc-web";
const PACKAGES: [&str; 4] = [COMPILER, "cargo-web", "rust-web-src", "lld"];

/// To be raised when the library is built in another way: what is kept is then built anew.
const RECIPE: u32 = 1;

/// A compiler in its Debian package, and a library that it has built.
#[derive(Debug)]
pub(super) struct Compiler {
    sysroot: PathBuf,
}

impl Compiler {
    /// Installs the packages and builds the library, as far as that has not been done before.
    pub(super) fn prepare() -> Result<Self> {
        install(&missing_packages()?)?;
        // With the version of the package in its name, the library of an older compiler is left alone.
        let version = process::output(Command::new("dpkg-query").args([
            "--show",
            "--showformat=${Version}",
            COMPILER,
        ]))?;
        let sysroots = cache()?.join("wasm-std");
        let sysroot = sysroots.join(format!("{version}-recipe-{RECIPE}"));
        if !has_standard_library(&library(&sysroot)) {
            build_library(&sysroots, &sysroot)?;
        }
        Ok(Self { sysroot })
    }

    pub(super) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// Makes a command of Debian's cargo use its own compiler and linker.
    pub(super) fn choose(&self, command: &mut Command) {
        environment(command);
        command.arg("--config");
        command.arg(format!("target.{TARGET}.linker={LINKER:?}"));
    }
}

/// Where a sysroot has its library.
fn library(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// Debian's compiler, not the one that this program was run by.
fn environment(command: &mut Command) {
    command.env("RUSTC", RUSTC);
    command.env_remove("RUSTUP_TOOLCHAIN");
    // `cargo run` puts its own compiler's libraries there.
    command.env_remove("LD_LIBRARY_PATH");
}

fn missing_packages() -> Result<Vec<&'static str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
    query.args(PACKAGES);
    // Its status only says that some are not known, which is no fault here.
    let output = query
        .output()
        .context("this is no Debian: cannot run dpkg-query")?;
    Ok(missing(&String::from_utf8_lossy(&output.stdout)))
}

/// Which of the packages are not installed, by the lines `NAME STATUS` of those that dpkg knows.
fn missing(known: &str) -> Vec<&'static str> {
    let installed = |package: &&str| {
        known
            .lines()
            .any(|line| line.split_once(' ') == Some((package, "installed")))
    };
    PACKAGES
        .into_iter()
        .filter(|package| !installed(package))
        .collect()
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    // No package is to go for these to come: another compiler, or Debian's rustup.
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    let Some((program, arguments)) = as_root() else {
        bail!(
            "packages are missing, and there is no right to install them. As root: \
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
    eprintln!("WASM toolchain: installing {list}");
    process::run(apt_get().arg("update"))?;
    process::run(apt_get().args(install).args(packages))
        .context("Debian 12 with its security updates has these packages")
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

/// Builds the library in a directory beside the one where it is to be, and renames that when it is
/// whole: a build that was interrupted is never taken for one.
fn build_library(sysroots: &Path, sysroot: &Path) -> Result<()> {
    fs::create_dir_all(sysroots).with_context(|| format!("cannot make {}", sysroots.display()))?;
    let _lock = lock(&sysroots.join("lock"))?;
    // Another may have built it while this one waited.
    if has_standard_library(&library(sysroot)) {
        return Ok(());
    }
    eprintln!(
        "WASM toolchain: building the standard library for {TARGET}, once for this compiler \
         (about a minute)"
    );
    let unfinished = sysroots.join("unfinished");
    remove(&unfinished)?;
    let target_directory = unfinished.join("target");
    let empty_crate = unfinished.join("crate");
    fs::create_dir_all(empty_crate.join("src"))?;
    fs::write(empty_crate.join("src/lib.rs"), "")?;
    fs::write(
        empty_crate.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;

    // Guests are linked with `lto = true`, which needs the library as bitcode as well.
    let mut rustflags = vec!["-Cembed-bitcode=yes".to_owned()];
    rustflags.extend(same_paths_everywhere());
    let mut command = Command::new(CARGO);
    environment(&mut command);
    process::run(
        command
            .current_dir(&empty_crate)
            // Stable compilers permit `-Z` to those who say that they know.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
            .args(["build", "--release", "--target", TARGET])
            .arg("-Zbuild-std=std,panic_abort")
            .arg("--target-dir")
            .arg(&target_directory),
    )
    .context("cannot build the standard library")?;

    let whole = unfinished.join("sysroot");
    fs::create_dir_all(library(&whole))?;
    let built = target_directory.join(TARGET).join("release/deps");
    for entry in built.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rlib")
            && !name.to_string_lossy().starts_with("libempty-")
        {
            fs::rename(entry.path(), library(&whole).join(name))?;
        }
    }
    if !has_standard_library(&library(&whole)) {
        bail!("{CARGO} built no standard library in {}", built.display());
    }
    remove(sysroot)?;
    fs::rename(&whole, sysroot).with_context(|| format!("cannot make {}", sysroot.display()))?;
    remove(&unfinished)
}

/// Waits until no other build is under way, and keeps others waiting until the file is closed.
fn lock(path: &Path) -> Result<File> {
    let context = || format!("cannot lock {}", path.display());
    let file = File::create(path).with_context(context)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("WASM toolchain: waiting for another build of the standard library");
            file.lock().with_context(context)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    Ok(file)
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The user's cache directory for this project.
fn cache() -> Result<PathBuf> {
    let caches = match env::var_os("XDG_CACHE_HOME") {
        // A relative path is no answer, says the specification of that variable.
        Some(caches) if Path::new(&caches).is_absolute() => PathBuf::from(caches),
        _ => env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set")?
            .join(".cache"),
    };
    Ok(caches.join("vendordock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_unless_it_is_installed() {
        let known = "rustc-web installed\ncargo-web config-files\nlld installed\n";

        assert_eq!(missing(known), ["cargo-web", "rust-web-src"]);
        assert_eq!(missing(""), PACKAGES);
    }

    #[test]
    fn only_one_build_is_under_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");

        let first = lock(&path).unwrap();
        let second = File::create(&path).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));

        drop(first);
        assert!(second.try_lock().is_ok());
    }
}
