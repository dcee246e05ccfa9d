//! Assembles the hostile plugins: each text in `tests/plugins/hostile/` becomes `test-plugins/hostile/NAME.wasm`.
//!
//! They do what no compiler would let them do, or no language offers: answer with bytes that are no text, guess handles,
//! call WASI without a runtime. To assemble one takes a millisecond, so that each can be a component of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::component;

/// What a plugin consists of besides what is told about it: put behind each text.
const FRAME: &str = "frame.wat";
/// The world of these plugins: that of all plugins, and parts of WASI.
const WORLD: &str = "wasi.wit";

/// Assembles all, and says how many there are.
pub(crate) fn assemble(workspace_root: &Path, directory: &Path) -> Result<usize> {
    let sources = workspace_root.join("tests/plugins/hostile");
    let mut resolve = Resolve::default();
    resolve.push_dir(workspace_root.join("wit"))?;
    let package = resolve.push_file(sources.join(WORLD))?;
    let world = resolve.select_world(&[package], None)?;
    let frame = fs::read_to_string(sources.join(FRAME))?;
    let texts = texts(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    for path in &texts {
        let text = fs::read_to_string(path)?;
        let bytes = encode(&text, &frame, &resolve, world)
            .with_context(|| format!("cannot assemble {}", path.display()))?;
        let name = path.file_name().unwrap_or_default();
        component::write(&directory.join(name).with_extension("wasm"), &bytes)?;
    }
    Ok(texts.len())
}

fn texts(sources: &Path) -> Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(sources)? {
        let path = entry?.path();
        let is_text = path.extension().is_some_and(|extension| extension == "wat");
        if is_text && path.file_name().is_some_and(|name| name != FRAME) {
            texts.push(path);
        }
    }
    Ok(texts)
}

/// A text that opens a component or a module is all of it; another is a part of a plugin.
fn encode(text: &str, frame: &str, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>> {
    let first = text
        .lines()
        .find(|line| !line.is_empty() && !line.starts_with(";;"));
    if first.is_some_and(|line| line.starts_with("(component") || line.starts_with("(module")) {
        return Ok(wat::parse_str(text)?);
    }
    // On the first line, so that errors tell the right one.
    let mut module = wat::parse_str(format!("(module {text}\n{frame})"))?;
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .module(&module)?
        .validate(true)
        .encode()
}
