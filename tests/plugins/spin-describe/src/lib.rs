//! Never returns from `describe`: a plugin can be at fault before it has served anyone.

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, export};

struct SpinDescribe;

impl Plugin for SpinDescribe {
    fn describe() -> Manifest {
        loop {
            std::hint::spin_loop();
        }
    }

    fn provide(_: Request) -> Result<Response, Error> {
        Ok(Response::default())
    }
}

export!(SpinDescribe);
