//! Never returns from `provide`, and calls nothing on the way: only the gateway can end it.

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, export};

struct Spin;

impl Plugin for Spin {
    fn describe() -> Manifest {
        Manifest {
            name: "spin".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_: Request) -> Result<Response, Error> {
        loop {
            std::hint::spin_loop();
        }
    }
}

export!(Spin);
