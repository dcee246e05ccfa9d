//! Prints what stands in its configuration, as a language's runtime would, and dies.
//!
//! | key | |
//! | --- | --- |
//! | `filler` | lines printed first, to standard output |
//! | `words` | printed then, to standard error |

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unsafe_code,
        reason = "generated, and crossing the boundary is unsafe"
    )]

    wit_bindgen::generate!({ path: "wit", world: "last-words", generate_all });
}

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, config, export};

use self::bindings::wasi::cli::{stderr, stdout};
use self::bindings::wasi::io::streams::OutputStream;

/// What one write of a stream takes at most.
const PIECE_BYTES: usize = 4096;

struct LastWords;

impl Plugin for LastWords {
    fn describe() -> Manifest {
        Manifest {
            name: "last-words".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            config_schema: r#"{"type": "object"}"#.to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_: Request) -> Result<Response, Error> {
        let config: serde_json::Value = config::read()?;
        let filler = config["filler"].as_u64().unwrap_or_default();
        let output = stdout::get_stdout();
        for number in 0..filler {
            print(&output, &format!("line {number}\n"));
        }
        die_of(config["words"].as_str().unwrap_or_default())
    }
}

#[inline(never)]
fn die_of(words: &str) -> ! {
    print(&stderr::get_stderr(), words);
    std::process::abort()
}

fn print(stream: &OutputStream, text: &str) {
    for piece in text.as_bytes().chunks(PIECE_BYTES) {
        // Who cannot print cannot say so either.
        let _ = stream.blocking_write_and_flush(piece);
    }
}

export!(LastWords);
