//! Where a compiler with a standard library for `wasm32-unknown-unknown` comes from.
//!
//! There are several ways, and which of them is open differs: rustup can download the library where
//! its servers can be reached, and Debian has a newer compiler with its sources where only packages
//! can. `VENDORDOCK_WASM_TOOLCHAIN` names one; otherwise they are tried in turn.

mod debian;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const VARIABLE: &str = "VENDORDOCK_WASM_TOOLCHAIN";

/// One way to a toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// The compiler in use has the library.
    Installed,
    /// rustup adds the library to the compiler in use.
    Rustup,
    /// Debian's compiler, with a library built from Debian's sources.
    Debian,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        })
    }
}

/// A cargo and a rustc that can build for [`TARGET`].
#[derive(Debug)]
pub(crate) struct Toolchain {
    cargo: OsString,
    /// Those of Debian, when they are not the ones in use.
    debian: Option<debian::Compiler>,
}

impl Toolchain {
    /// Finds or makes a toolchain, by the ways that the setting permits.
    pub(crate) fn prepare() -> Result<Self> {
        let setting = match env::var(VARIABLE) {
            Ok(setting) => setting,
            Err(env::VarError::NotPresent) => String::new(),
            Err(error) => return Err(error).context(VARIABLE),
        };
        first_open(routes(&setting)?, |route| match route {
            Route::Installed => installed(),
            Route::Rustup => rustup(),
            Route::Debian => Ok(Self {
                cargo: debian::CARGO.into(),
                debian: Some(debian::Compiler::prepare()?),
            }),
        })
    }

    /// `cargo build` for the target, with the linker's flags of `.cargo/config.toml` in force.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        // In the environment, flags would take the place of those in the file.
        command.env_remove("RUSTFLAGS");
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.args(["build", "--target", TARGET]);

        let mut rustflags: Vec<_> = same_paths_everywhere().into_iter().collect();
        if let Some(compiler) = &self.debian {
            compiler.choose(&mut command);
            rustflags.push(format!("--sysroot={}", compiler.sysroot().display()));
        }
        // A list given here is added to the one in the file.
        command.arg("--config");
        command.arg(format!(
            "target.{TARGET}.rustflags={}",
            toml_list(&rustflags)
        ));
        command
    }
}

/// The ways to try for a setting, in order.
fn routes(setting: &str) -> Result<&'static [Route]> {
    match setting {
        "" | "auto" => Ok(&[Route::Installed, Route::Rustup, Route::Debian]),
        "installed" => Ok(&[Route::Installed]),
        "rustup" => Ok(&[Route::Rustup]),
        "debian" => Ok(&[Route::Debian]),
        other => {
            bail!("{VARIABLE} is {other:?}: it can be auto, installed, rustup or debian")
        }
    }
}

/// What the first way yields that can be gone. The failures of those before it are reported, and
/// those of all when there is none.
fn first_open<T>(routes: &[Route], mut go: impl FnMut(Route) -> Result<T>) -> Result<T> {
    let mut failures = Vec::new();
    for (index, &route) in routes.iter().enumerate() {
        match go(route) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => {
                if let Some(next) = routes.get(index + 1) {
                    eprintln!("WASM toolchain: not `{route}` ({error:#}); trying `{next}`");
                }
                failures.push(format!("{route}: {error:#}"));
            }
        }
    }
    bail!(
        "no toolchain for {TARGET}\n  {}\nWith rustup, `rustup target add {TARGET}` installs what is missing; \
         elsewhere, the distribution may have the target's standard library as a package.",
        failures.join("\n  ")
    )
}

fn installed() -> Result<Toolchain> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let directory = process::output(Command::new(rustc).args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]))?;
    if !has_standard_library(Path::new(&directory)) {
        bail!("no standard library for {TARGET} in {directory}");
    }
    Ok(Toolchain {
        cargo: cargo(),
        debian: None,
    })
}

fn rustup() -> Result<Toolchain> {
    eprintln!("WASM toolchain: rustup target add {TARGET}");
    process::run(Command::new("rustup").args(["target", "add", TARGET]))?;
    // rustup may look after another compiler than the one in use.
    installed()
}

fn has_standard_library(directory: &Path) -> bool {
    let Ok(entries) = directory.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Code that can panic carries the paths of its sources, and those of dependencies are in the home of
/// whoever builds. With this flag they are not, and do not tell one builder's plugin from another's.
fn same_paths_everywhere() -> Option<String> {
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => env::home_dir()?.join(".cargo"),
    };
    let sources = cargo_home.join("registry/src");
    Some(format!(
        "--remap-path-prefix={}=registry",
        sources.display()
    ))
}

/// A list of strings as cargo's `--config` takes it. JSON's escapes are all TOML's too.
fn toml_list(strings: &[String]) -> String {
    serde_json::Value::from(strings).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_setting_the_nearest_way_comes_first() {
        assert_eq!(
            routes("").unwrap(),
            [Route::Installed, Route::Rustup, Route::Debian]
        );
        assert_eq!(routes("").unwrap(), routes("auto").unwrap());
    }

    #[test]
    fn a_setting_leaves_one_way() {
        for route in [Route::Installed, Route::Rustup, Route::Debian] {
            assert_eq!(routes(&route.to_string()).unwrap(), [route]);
        }
    }

    #[test]
    fn another_setting_is_refused_and_told_what_it_can_be() {
        assert_eq!(
            routes("Debian").unwrap_err().to_string(),
            "VENDORDOCK_WASM_TOOLCHAIN is \"Debian\": it can be auto, installed, rustup or debian"
        );
    }

    #[test]
    fn a_way_that_is_closed_leads_to_the_next() {
        let mut tried = Vec::new();

        let found = first_open(routes("auto").unwrap(), |route| {
            tried.push(route);
            match route {
                Route::Installed => bail!("not there"),
                _ => Ok(route),
            }
        });

        assert_eq!(found.unwrap(), Route::Rustup);
        assert_eq!(tried, [Route::Installed, Route::Rustup]);
    }

    #[test]
    fn when_all_are_closed_each_is_told_with_its_reason() {
        let error = first_open::<()>(routes("auto").unwrap(), |route| bail!("no {route} here"));

        let error = error.unwrap_err().to_string();
        for line in [
            "installed: no installed here",
            "rustup: no rustup here",
            "debian: no debian here",
        ] {
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn flags_survive_cargos_configuration() {
        assert_eq!(
            toml_list(&["--sysroot=/a b".to_owned(), r#"-Ca="c""#.to_owned()]),
            r#"["--sysroot=/a b","-Ca=\"c\""]"#
        );
    }
}
