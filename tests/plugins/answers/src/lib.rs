//! Answers with the text in the metadata key `body`, be it JSON or not: what the gateway makes of an
//! answer is seen by giving one.

use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, export};

struct Answers;

impl Plugin for Answers {
    fn describe() -> Manifest {
        Manifest {
            name: "answers".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        match request.instance.metadata_value("body") {
            Some(body) => Ok(Response {
                body: body.to_owned(),
                ..Response::default()
            }),
            None => Ok(Response::default()),
        }
    }
}

export!(Answers);
