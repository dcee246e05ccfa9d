//! Builds the plugins: every crate under `plugins/` but the SDK, and those under `tests/plugins/`; with all of them, also the
//! texts under `tests/plugins/hostile/`.
//!
//! Each becomes `plugins/NAME.wasm`, or `test-plugins/NAME.wasm`, in cargo's target directory, where
//! NAME is that of the crate's directory. All are compiled by one cargo call, so that what they share
//! is built once, and into a target directory of its own: the compiler may be another than the
//! workspace's.

mod component;
mod hostile;
pub(crate) mod languages;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use self::languages::Language;
use crate::process;
use crate::toolchain::{self, TARGET, Toolchain};

/// Builds plugins to components.
///
/// Where a compiler for them comes from is told by VENDORDOCK_WASM_TOOLCHAIN: `installed` (the compiler in use has
/// the target wasm32-unknown-unknown), `rustup` (which adds it), `debian` (a compiler from Debian's packages, and a
/// standard library built by it once), or `auto`, which tries them in this order.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of the plugins' directories. All, when none is given.
    names: Vec<String>,
    /// Build the plugins in this language instead: the example, and what the tests need. The tools come from PyPI or npm, into the
    /// user's cache.
    #[arg(long = "language", value_enum, conflicts_with = "names")]
    languages: Vec<Language>,
}

/// What a build left behind.
#[derive(Debug)]
pub(crate) struct Built {
    /// Where the plugins are: `NAME.wasm`.
    pub(crate) directory: PathBuf,
    /// Where those for tests are.
    pub(crate) test_directory: PathBuf,
    /// Those that were asked for, in order of their names.
    pub(crate) components: Vec<Component>,
}

/// One component.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) size_bytes: usize,
    /// What it took to make it of the compiled module.
    encoding: Duration,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let built = if args.languages.is_empty() {
        build(&args.names)?
    } else {
        languages::build(&args.languages)?
    };
    for component in &built.components {
        println!("{component}");
    }
    println!("in {}", built.directory.display());
    println!("in {}, those for tests", built.test_directory.display());
    Ok(())
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} {:>7.1} KiB {:>5} ms",
            self.name,
            self.size_bytes as f64 / 1024.0,
            self.encoding.as_millis()
        )
    }
}

/// Builds the plugins of these names, or all when there are none.
pub(crate) fn build(names: &[String]) -> Result<Built> {
    let workspace = Workspace::read()?;
    let crates = chosen(&workspace.plugin_crates(), names)?;
    if let Some(plugin) = crates.iter().find(|plugin| !plugin.is_cdylib_alone) {
        // And the others built with it come out different from when they are built without it.
        bail!(
            "the crate-type of plugin {} is to be [\"cdylib\"] alone: with any other beside it, cargo \
             leaves link-time optimisation out",
            plugin.name
        );
    }
    let toolchain = Toolchain::prepare()?;

    let guest_directory = workspace.target_directory.join("guest");
    let start = Instant::now();
    let mut command = toolchain.cargo_build();
    command
        .current_dir(&workspace.workspace_root)
        .args(["--locked", "--profile", "plugin"])
        .arg("--target-dir")
        .arg(&guest_directory);
    for plugin in &crates {
        command.args(["--package", &plugin.package]);
    }
    eprintln!("compiling {} plugins for {TARGET}", crates.len());
    process::run(&mut command)?;
    eprintln!("compiled in {:.1} s", start.elapsed().as_secs_f64());

    let (directory, test_directory) = (workspace.directory(), workspace.test_directory());
    let modules = guest_directory.join(TARGET).join("plugin");
    let mut components = Vec::new();
    for plugin in crates {
        let directory = if plugin.is_test {
            &test_directory
        } else {
            &directory
        };
        let module = modules.join(format!("{}.wasm", plugin.package.replace('-', "_")));
        components.push(
            make(&plugin.name, &module, directory)
                .with_context(|| format!("plugin {}", plugin.name))?,
        );
    }
    if names.is_empty() {
        let count = hostile::assemble(&workspace.workspace_root, &test_directory.join("hostile"))?;
        eprintln!("assembled {count} hostile plugins");
    }
    Ok(Built {
        directory,
        test_directory,
        components,
    })
}

/// Makes the component of a module.
fn make(name: &str, module: &Path, directory: &Path) -> Result<Component> {
    let start = Instant::now();
    let module = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = component::encode(&module)?;
    let path = directory.join(format!("{name}.wasm"));
    component::write(&path, &component)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Component {
        name: name.to_owned(),
        size_bytes: component.len(),
        encoding: start.elapsed(),
    })
}

/// A crate that becomes a plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PluginCrate {
    name: String,
    is_test: bool,
    package: String,
    is_cdylib_alone: bool,
}

fn chosen(all: &[PluginCrate], names: &[String]) -> Result<Vec<PluginCrate>> {
    let is_known = |name: &&String| all.iter().any(|plugin| plugin.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<_> = all.iter().map(|plugin| plugin.name.as_str()).collect();
        bail!(
            "there is no plugin {unknown}; there are {}",
            known.join(", ")
        );
    }
    let is_chosen = |plugin: &&PluginCrate| names.is_empty() || names.contains(&plugin.name);
    Ok(all.iter().filter(is_chosen).cloned().collect())
}

/// What `cargo metadata` says of the workspace, as far as it is needed.
#[derive(Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Workspace {
    fn read() -> Result<Self> {
        let mut command = Command::new(toolchain::cargo());
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        let metadata = process::output(&mut command)?;
        serde_json::from_str(&metadata).context("cannot read what `cargo metadata` wrote")
    }

    /// Where plugins are put.
    fn directory(&self) -> PathBuf {
        self.target_directory.join("plugins")
    }

    /// Where those are put that only tests use.
    fn test_directory(&self) -> PathBuf {
        self.target_directory.join("test-plugins")
    }

    /// In order of their names.
    fn plugin_crates(&self) -> Vec<PluginCrate> {
        let mut crates: Vec<_> = self
            .packages
            .iter()
            .filter_map(|package| package.plugin_crate(&self.workspace_root))
            .collect();
        crates.sort();
        crates
    }
}

impl Package {
    /// The plugin that this package becomes, if its place says that it is one.
    fn plugin_crate(&self, workspace_root: &Path) -> Option<PluginCrate> {
        let place = self
            .manifest_path
            .parent()?
            .strip_prefix(workspace_root)
            .ok()?;
        let is_test = place.parent()? == Path::new("tests/plugins");
        let is_plugin =
            place.parent()? == Path::new("plugins") && place != Path::new("plugins/sdk");
        (is_test || is_plugin).then(|| PluginCrate {
            name: place
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            is_test,
            package: self.name.clone(),
            is_cdylib_alone: self
                .targets
                .iter()
                .any(|target| target.crate_types == ["cdylib"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        serde_json::from_str(
            r#"{
                "workspace_root": "/v",
                "target_directory": "/v/target",
                "packages": [
                    { "name": "vendordock", "manifest_path": "/v/host/Cargo.toml", "targets": [] },
                    { "name": "vendordock-plugin", "manifest_path": "/v/plugins/sdk/Cargo.toml", "targets": [] },
                    {
                        "name": "test-spin",
                        "manifest_path": "/v/tests/plugins/spin/Cargo.toml",
                        "targets": [{ "crate_types": ["cdylib"] }]
                    },
                    { "name": "vendordock-stand-ins", "manifest_path": "/v/tests/support/Cargo.toml", "targets": [] },
                    {
                        "name": "join",
                        "manifest_path": "/v/plugins/join/Cargo.toml",
                        "targets": [{ "crate_types": ["cdylib", "rlib"] }]
                    }
                ]
            }"#,
        )
        .unwrap()
    }

    fn names(crates: &[PluginCrate]) -> Vec<&str> {
        crates.iter().map(|plugin| plugin.name.as_str()).collect()
    }

    #[test]
    fn plugins_are_told_by_their_place() {
        assert_eq!(
            workspace().plugin_crates(),
            [
                PluginCrate {
                    name: "join".to_owned(),
                    is_test: false,
                    package: "join".to_owned(),
                    is_cdylib_alone: false,
                },
                PluginCrate {
                    name: "spin".to_owned(),
                    is_test: true,
                    package: "test-spin".to_owned(),
                    is_cdylib_alone: true,
                },
            ]
        );
    }

    #[test]
    fn names_choose_and_no_name_means_all() {
        let all = workspace().plugin_crates();

        assert_eq!(names(&chosen(&all, &[]).unwrap()), ["join", "spin"]);
        assert_eq!(
            names(&chosen(&all, &["spin".to_owned()]).unwrap()),
            ["spin"]
        );
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_with_those_that_are() {
        let error = chosen(&workspace().plugin_crates(), &["spinn".to_owned()]);

        assert_eq!(
            error.unwrap_err().to_string(),
            "there is no plugin spinn; there are join, spin"
        );
    }
}
