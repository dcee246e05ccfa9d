//! Takes memory without end, and writes to each page of it.

use std::hint::black_box;

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, export};

struct Grow;

impl Plugin for Grow {
    fn describe() -> Manifest {
        Manifest {
            name: "grow".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_: Request) -> Result<Response, Error> {
        const MIB: usize = 1024 * 1024;
        let mut hoard = Vec::new();
        loop {
            hoard.push(black_box(vec![1_u8; MIB]));
        }
    }
}

export!(Grow);
