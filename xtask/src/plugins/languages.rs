//! Plugins in other languages: the examples, and the probes that the tests run.
//!
//! Their tools come from PyPI and npm, each in one version, into the user's cache. To make a component takes seconds, so one is
//! made again only when something that goes into it has changed.

mod javascript;
mod python;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Built, Component, Workspace};
use crate::{cache, process};

/// A language that a provider here is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    Python,
    #[value(name = "javascript")]
    JavaScript,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::JavaScript];
}

/// A provider, by where its sources are.
struct Guest {
    name: &'static str,
    language: Language,
    directory: &'static str,
    /// The file that has the exports.
    source: &'static str,
    is_test: bool,
}

const GUESTS: [Guest; 4] = [
    Guest {
        name: "product-key",
        language: Language::Python,
        directory: "examples/python",
        source: "app.py",
        is_test: false,
    },
    Guest {
        name: "python-probe",
        language: Language::Python,
        directory: "tests/languages/python",
        source: "probe.py",
        is_test: true,
    },
    Guest {
        name: "facts",
        language: Language::JavaScript,
        directory: "examples/javascript",
        source: "plugin.js",
        is_test: false,
    },
    Guest {
        name: "javascript-probe",
        language: Language::JavaScript,
        directory: "tests/languages/javascript",
        source: "probe.js",
        is_test: true,
    },
];

/// What makes components of a language's sources.
enum Tools {
    Python(python::Tools),
    JavaScript(javascript::Tools),
}

impl Tools {
    fn prepare(language: Language) -> Result<Self> {
        Ok(match language {
            Language::Python => Self::Python(python::Tools::prepare()?),
            Language::JavaScript => Self::JavaScript(javascript::Tools::prepare()?),
        })
    }

    /// Makes `component` of `source`, a file in `directory`.
    fn componentize(
        &self,
        directory: &Path,
        source: &str,
        wit: &Path,
        component: &Path,
    ) -> Result<()> {
        process::run(&mut match self {
            Self::Python(tools) => tools.componentize(directory, source, wit, component),
            Self::JavaScript(tools) => tools.componentize(directory, source, wit, component)?,
        })
    }

    /// Runs the tests of the decisions, which need no gateway.
    fn test(&self, directory: &Path) -> Command {
        let mut command = match self {
            Self::Python(tools) => tools.test(),
            Self::JavaScript(_) => javascript::test(),
        };
        command.current_dir(directory);
        command
    }
}

/// Builds the plugins of these languages.
pub(crate) fn build(languages: &[Language]) -> Result<Built> {
    let workspace = Workspace::read()?;
    let mut components = Vec::new();
    for language in languages {
        let tools = Tools::prepare(*language)?;
        for guest in GUESTS.iter().filter(|guest| guest.language == *language) {
            let component = guest
                .build(&tools, &workspace)
                .with_context(|| format!("plugin {}", guest.name))?;
            components.push(component);
        }
    }
    Ok(Built {
        directory: workspace.directory(),
        test_directory: workspace.test_directory(),
        components,
    })
}

/// Builds them all, and runs the tests that the examples bring.
pub(crate) fn build_and_test() -> Result<()> {
    build(&Language::ALL)?;
    let workspace = Workspace::read()?;
    for guest in GUESTS.iter().filter(|guest| !guest.is_test) {
        let tools = Tools::prepare(guest.language)?;
        process::run(&mut tools.test(&workspace.workspace_root.join(guest.directory)))?;
    }
    Ok(())
}

impl Guest {
    fn build(&self, tools: &Tools, workspace: &Workspace) -> Result<Component> {
        let start = Instant::now();
        let wit = workspace.workspace_root.join("wit");
        let sources = files(&workspace.workspace_root.join(self.directory), |name| {
            self.language.is_source(name)
        })?;
        let digest = self.digest(&sources, &files(&wit, |name| name.ends_with(".wit"))?);

        let directory = if self.is_test {
            workspace.test_directory()
        } else {
            workspace.directory()
        };
        let component = directory.join(format!("{}.wasm", self.name));
        let work = workspace.target_directory.join("guest").join(self.name);
        let made_of = work.join("made-of");
        let is_fresh =
            component.exists() && fs::read_to_string(&made_of).is_ok_and(|of| of == digest);
        if !is_fresh {
            eprintln!("making {} of {}", self.name, self.directory);
            // A copy: componentize-py leaves compiled files beside what it reads.
            if work.exists() {
                fs::remove_dir_all(&work)
                    .with_context(|| format!("cannot remove {}", work.display()))?;
            }
            let copies = work.join("sources");
            for directory in [&copies, &directory] {
                fs::create_dir_all(directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
            }
            for (name, content) in &sources {
                fs::write(copies.join(name), content)
                    .with_context(|| format!("cannot copy {name}"))?;
            }
            let unfinished = work.join("unfinished.wasm");
            tools.componentize(&copies, self.source, &wit, &unfinished)?;
            fs::rename(&unfinished, &component)
                .with_context(|| format!("cannot write {}", component.display()))?;
            fs::write(&made_of, &digest)
                .with_context(|| format!("cannot write {}", made_of.display()))?;
        }
        let size_bytes = fs::metadata(&component)?.len().try_into()?;
        Ok(Component {
            name: self.name.to_owned(),
            size_bytes,
            encoding: start.elapsed(),
        })
    }

    /// Of all that goes into the component.
    fn digest(&self, sources: &[(String, Vec<u8>)], wit: &[(String, Vec<u8>)]) -> String {
        let files = sources.iter().chain(wit);
        let files = files.flat_map(|(name, content)| [name.as_bytes(), content]);
        let tools = match self.language {
            Language::Python => python::made_by(),
            Language::JavaScript => javascript::made_by(),
        };
        cache::digest(tools.into_iter().map(str::as_bytes).chain(files))
    }
}

impl Language {
    /// Whether a file of this name goes into a component.
    fn is_source(self, name: &str) -> bool {
        match self {
            Self::Python => name.ends_with(".py") && !name.starts_with("test_"),
            Self::JavaScript => name.ends_with(".js") && !name.ends_with(".test.js"),
        }
    }
}

/// The files of a directory that are wanted, by name and in order.
fn files(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>> {
    let context = || format!("cannot read {}", directory.display());
    let mut files = Vec::new();
    for entry in directory.read_dir().with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_wanted(&name) {
            let content = fs::read(entry.path()).with_context(context)?;
            files.push((name, content));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_beside_a_plugin_is_no_part_of_it() {
        for (language, name, is_source) in [
            (Language::Python, "app.py", true),
            (Language::Python, "test_app.py", false),
            (Language::Python, "requirements.txt", false),
            (Language::JavaScript, "plugin.js", true),
            (Language::JavaScript, "plugin.test.js", false),
            (Language::JavaScript, "build.mjs", false),
        ] {
            assert_eq!(language.is_source(name), is_source, "{name}");
        }
    }

    #[test]
    fn a_plugin_is_made_again_when_its_sources_or_the_interface_change() {
        let digest = |source: &str, wit: &str| {
            let file = |content: &str| vec![("name".to_owned(), content.as_bytes().to_owned())];
            GUESTS[0].digest(&file(source), &file(wit))
        };

        assert_eq!(digest("a", "b"), digest("a", "b"));
        assert_ne!(digest("a", "b"), digest("x", "b"));
        assert_ne!(digest("a", "b"), digest("a", "x"));
    }

    #[test]
    fn every_plugin_is_where_it_is_looked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for guest in &GUESTS {
            let source = root.join(guest.directory).join(guest.source);
            assert!(source.exists(), "{}", source.display());
        }
    }
}
