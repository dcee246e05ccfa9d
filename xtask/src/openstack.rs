//! The virtual environment in which the tests run nova, keystone and glance.
//!
//! It takes a minute to make and half a gigabyte of disk, so it is kept in the user's cache, one for each set of
//! requirements and each Python. A virtual environment cannot be moved once made: it is made where it stays, and
//! counts only once it holds the file that is written last.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

const REQUIREMENTS: &str = include_str!("../../tests/openstack/requirements.txt");

/// The oldest Python that nova supports.
const MINIMUM: (u32, u32) = (3, 11);

/// The environment's directory, for `VENDORDOCK_OPENSTACK`. Makes it first if there is none yet.
pub(crate) fn environment() -> anyhow::Result<PathBuf> {
    let python = Python::find()?;
    let environment = cache()?.join(format!("openstack-{}", key(&python)));
    let complete = environment.join("complete");
    if complete.exists() {
        return Ok(environment);
    }

    let _lock = lock(&environment.with_extension("lock"))?;
    // Whoever held the lock may have made it meanwhile.
    if complete.exists() {
        return Ok(environment);
    }
    if environment.exists() {
        fs::remove_dir_all(&environment)
            .with_context(|| format!("cannot remove the unfinished {}", environment.display()))?;
    }
    eprintln!(
        "making the environment with nova, keystone and glance, once, in {}",
        environment.display()
    );
    make(&environment)?;
    File::create(&complete).with_context(|| format!("cannot make {}", complete.display()))?;
    Ok(environment)
}

fn make(environment: &Path) -> anyhow::Result<()> {
    run(Command::new("python3")
        .args(["-I", "-m", "venv"])
        .arg(environment))?;
    let requirements = environment.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    let pip = || {
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args([
            "-I",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
        ]);
        pip
    };
    // All is pinned, so nothing is left to resolve; `check` says when a pin is missing.
    run(pip()
        .args([
            "install",
            "--no-deps",
            "--progress-bar=off",
            "--requirement",
        ])
        .arg(&requirements))?;
    run(pip().arg("check"))
}

pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // The specification says to ignore a relative one.
        .filter(|cache| cache.is_absolute())
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("vendordock");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// The interpreter is part of it, since the environment links to it and breaks when it goes.
fn key(python: &Python) -> String {
    let hash = Sha256::new()
        .chain_update(REQUIREMENTS)
        .chain_update(&python.identity)
        .finalize();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Held until the file is dropped. It stays behind, empty: removing it would let two in.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for the environment that another cargo xtask is making");
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    locked.with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The user's `python3`, found to have what it takes.
struct Python {
    /// Its version without the patch level, and where it really is.
    identity: String,
}

impl Python {
    fn find() -> anyhow::Result<Self> {
        match Self::probe()? {
            Some(python) => Ok(python),
            None => {
                install_venv()?;
                Self::probe()?.context("python3-venv is installed, but python3 has no venv module")
            }
        }
    }

    /// None where Python or its venv module is missing. Debian has the module but takes away `ensurepip`.
    fn probe() -> anyhow::Result<Option<Self>> {
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
            (major, minor) >= MINIMUM,
            "python3 is {major}.{minor}; nova and keystone, which the tests run, need {}.{}",
            MINIMUM.0,
            MINIMUM.1
        );
        Ok(output.status.success().then_some(Self { identity }))
    }
}

fn install_venv() -> anyhow::Result<()> {
    let debian = Path::new("/etc/debian_version").exists();
    ensure!(
        debian,
        "the tests run nova and keystone: install python3 with its modules venv and ensurepip"
    );
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    ensure!(
        root,
        "the tests run nova and keystone, but python3 or its venv module is missing: sudo apt-get install python3-venv"
    );
    let apt_get = || {
        let mut apt_get = Command::new("apt-get");
        apt_get.env("DEBIAN_FRONTEND", "noninteractive");
        apt_get
    };
    run(apt_get().arg("update"))?;
    run(apt_get().args([
        "install",
        "--yes",
        "--no-install-recommends",
        "python3-venv",
    ]))
}

/// What the command prints is progress: stdout is left to ours.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
