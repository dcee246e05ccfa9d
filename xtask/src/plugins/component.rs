//! From a compiled module to a component on the disk.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmparser::{ConstExpr, Operator, Parser, Payload};
use wit_component::ComponentEncoder;

/// The WIT package, of whichever version, and what some of the tests' plugins import on purpose. A plugin imports nothing else.
const PACKAGES: [&str; 4] = [
    "vendordock:vendordata/",
    "wasi:cli/",
    "wasi:http/",
    "wasi:io/",
];
/// As in `.cargo/config.toml`.
const STACK_BYTES: i32 = 64 * 1024;
const MEMORY_PAGES: u64 = 32;

pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>> {
    check(module)?;
    ComponentEncoder::default()
        .module(module)?
        .validate(true)
        .encode()
}

/// Holds a module against what the host counts on. The linker's flags are easily lost on the way
/// here, and all that would show is that each call takes twice as long.
fn check(module: &[u8]) -> Result<()> {
    let mut stack_bytes = None;
    let mut memory_pages = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    let is_of = |package| import.module.starts_with(package);
                    if !PACKAGES.into_iter().any(is_of) {
                        bail!(
                            "it imports {} from {}, which is none of ours",
                            import.name,
                            import.module
                        );
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    memory_pages = Some(memory?.initial);
                }
            }
            // The linker puts the stack first in the memory, growing downwards, and its pointer first
            // among the globals.
            Payload::GlobalSection(globals) => {
                if let Some(global) = globals.into_iter().next() {
                    stack_bytes = constant(&global?.init_expr);
                }
            }
            _ => {}
        }
    }
    if stack_bytes != Some(STACK_BYTES) || memory_pages < Some(MEMORY_PAGES) {
        bail!(
            "it starts with {stack_bytes:?} bytes of stack and {memory_pages:?} pages of memory; \
             did the flags in .cargo/config.toml ({STACK_BYTES}, {MEMORY_PAGES}) reach the linker?"
        );
    }
    Ok(())
}

fn constant(expression: &ConstExpr<'_>) -> Option<i32> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(value),
        _ => None,
    }
}

/// Writes the whole file or nothing, and nothing when it holds these bytes already: what watches it
/// is not to be woken for nothing.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let directory = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        // The gateway may run as another user than the one who builds. The umask still applies.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const HEADER: &[u8] = b"\0asm\x01\0\0\0";
    const TYPE: &[u8] = b"\x01\x04\x01\x60\0\0";
    const WASI_IMPORT: &[u8] = b"\x02\x0d\x01\x04wasi\x04exit\0\0";
    const OUR_IMPORT: &[u8] = b"\x02\x28\x01\x1fvendordock:vendordata/log@0.1.0\x04emit\0\0";
    const MEMORY_OF_32_PAGES: &[u8] = b"\x05\x03\x01\0\x20";
    const MEMORY_OF_17_PAGES: &[u8] = b"\x05\x03\x01\0\x11";
    const STACK_OF_64_KIB: &[u8] = b"\x06\x08\x01\x7f\x01\x41\x80\x80\x04\x0b";
    const STACK_OF_1_MIB: &[u8] = b"\x06\x09\x01\x7f\x01\x41\x80\x80\xc0\0\x0b";

    fn refusal(sections: &[&[u8]]) -> Option<String> {
        let module = [&[HEADER], sections].concat().concat();
        check(&module).err().map(|error| error.to_string())
    }

    #[test]
    fn a_plugin_imports_our_package_alone() {
        let settings = [MEMORY_OF_32_PAGES, STACK_OF_64_KIB];

        assert_eq!(
            refusal(&[&[TYPE, OUR_IMPORT], &settings[..]].concat()),
            None
        );
        assert_eq!(
            refusal(&[&[TYPE, WASI_IMPORT], &settings[..]].concat()).unwrap(),
            "it imports exit from wasi, which is none of ours"
        );
    }

    #[test]
    fn flags_that_did_not_reach_the_linker_are_missed() {
        for lost in [
            [MEMORY_OF_17_PAGES, STACK_OF_64_KIB],
            [MEMORY_OF_32_PAGES, STACK_OF_1_MIB],
        ] {
            let refusal = refusal(&lost).unwrap();
            assert!(refusal.contains(".cargo/config.toml"), "{refusal}");
        }
    }

    #[test]
    fn a_file_is_written_only_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugins/echo.wasm");
        let inode = || fs::metadata(&path).unwrap().ino();

        write(&path, b"one").unwrap();
        let first = inode();
        write(&path, b"one").unwrap();
        assert_eq!(inode(), first);

        write(&path, b"two").unwrap();
        assert_ne!(inode(), first);
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
