//! Takes too much of what the metadata key `of` names, and answers `{}` if it gets that far, to be kept for an hour.
//!
//! | `of` | |
//! | --- | --- |
//! | `handles` | opens the credential `key` again and again, and closes none |
//! | `copies` | hands the gateway a text of nine mebibytes |
//! | `depth` | calls itself without end, and keeps nothing in memory |
//! | `lines` | logs a thousand lines |
//! | `text` | logs a hundred lines of a kibibyte |
//! | `forgery` | logs one line that looks like several, with fields that look like the gateway's |
//! | `secret` | logs what is in the key `secret` |
//! | `patience` | panics |
//! | `words` | refuses, with what is in the key `secret` for a reason |

use std::hint::black_box;

use vendordock_plugin::log::{self, Level};
use vendordock_plugin::{
    CacheHint, CacheScope, Error, Instance, Manifest, Plugin, Request, Response, credentials,
    export,
};

struct Excess;

impl Plugin for Excess {
    fn describe() -> Manifest {
        Manifest {
            name: "excess".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        take(&request.instance);
        if request.instance.metadata_value("of") == Some("words") {
            let secret = request
                .instance
                .metadata_value("secret")
                .unwrap_or_default();
            return Err(Error::Forbidden(format!("no log-in with {secret}")));
        }
        Ok(Response {
            cache: Some(CacheHint {
                scope: CacheScope::Instance,
                ttl_ms: 3_600_000,
                stale_if_error_ms: 0,
            }),
            ..Response::default()
        })
    }
}

fn take(instance: &Instance) {
    match instance.metadata_value("of").unwrap_or_default() {
        "handles" => loop {
            let Ok(credential) = credentials::open("key") else {
                return;
            };
            std::mem::forget(credential);
        },
        "copies" => log::emit(Level::Info, &black_box("x".repeat(9 << 20)), &[]),
        "depth" => {
            black_box(descend(0));
        }
        "lines" => {
            for number in 0..1_000 {
                log::emit(Level::Info, &format!("line number {number}"), &[]);
            }
        }
        "text" => {
            for number in 0..100 {
                let text = format!("text number {number} {}", "x".repeat(1_000));
                log::emit(Level::Info, &text, &[]);
            }
        }
        "forgery" => {
            let fields = [
                ("level", "ERROR"),
                ("vendordata.target", "another"),
                ("quote", "\" broken=\"yes\n2026-11-20 ERROR forged"),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            log::emit(
                Level::Warn,
                "well\n2026-11-20 ERROR forged\u{1b}[31m",
                &fields,
            );
        }
        "secret" => {
            let secret = instance.metadata_value("secret").unwrap_or_default();
            let fields = [("password".to_owned(), secret.to_owned())];
            log::emit(
                Level::Error,
                &format!("cannot log in with {secret}"),
                &fields,
            );
        }
        "patience" => panic!("enough"),
        _ => {}
    }
}

/// The inner call is not the last thing that is done, and when it ends is the gateway's to say: never, where the log is off.
fn descend(depth: u32) -> u32 {
    if log::is_enabled(Level::Trace) {
        depth
    } else {
        descend(descend(depth + 1) / 2)
    }
}

export!(Excess);
