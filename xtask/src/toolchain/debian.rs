//! Debian's compiler, with a standard library built from Debian's sources.
//!
//! Debian 12 keeps, for the sake of its browsers, a recent compiler apart from its own old one
//! (`rustc-web`), and its sources, but no library for our target. cargo can build that from the
//! sources (`-Zbuild-std`). It takes a minute, so the result is kept, and an ordinary build needs
//! nothing unstable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::{TARGET, has_standard_library, same_paths_everywhere};
use crate::{apt, cache, process};

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
        apt::install("WASM toolchain", &missing_packages()?)
            .context("Debian 12 with its security updates has these packages")?;
        // With the version of the package in its name, the library of an older compiler is left alone.
        let version = process::output(Command::new("dpkg-query").args([
            "--show",
            "--showformat=${Version}",
            COMPILER,
        ]))?;
        let sysroots = cache::directory()?.join("wasm-std");
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

/// Builds the library in a directory beside the one where it is to be, and renames that when it is
/// whole: a build that was interrupted is never taken for one.
fn build_library(sysroots: &Path, sysroot: &Path) -> Result<()> {
    fs::create_dir_all(sysroots).with_context(|| format!("cannot make {}", sysroots.display()))?;
    let _lock = cache::lock(&sysroots.join("lock"))?;
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

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
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
}
