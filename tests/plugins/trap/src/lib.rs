//! Dies in the way named in the metadata key `how`: `unreachable`, `panic-literal`, `stack-overflow`,
//! or else by a panic whose message holds the text of the key `secret`, which nobody may log.

use std::hint::black_box;

use vendordock_plugin::{Error, Instance, Manifest, Plugin, Request, Response, export};

struct Trap;

impl Plugin for Trap {
    fn describe() -> Manifest {
        Manifest {
            name: "trap".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        die(&request.instance)
    }
}

fn die(instance: &Instance) -> ! {
    match instance.metadata_value("how") {
        // The one instruction that an abort is on this target.
        Some("unreachable") => std::process::abort(),
        Some("panic-literal") => panic!("told to panic"),
        Some("stack-overflow") => {
            descend(0);
            unreachable!("the stack has an end")
        }
        _ => panic!(
            "the secret is {}",
            instance.metadata_value("secret").unwrap_or_default()
        ),
    }
}

/// Calls itself without end. The array is used after the call, so that the frame has to be kept.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if black_box(true) {
        descend(depth + 1) + frame[0]
    } else {
        0
    }
}

export!(Trap);
