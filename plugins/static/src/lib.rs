//! Answers with JSON and parts from its configuration, with what nova says of the instance put in.
//!
//! What a tenant has chosen goes only where it cannot do harm: into the texts of a JSON document, where it is a text
//! whatever it holds, and into quoted shell variables. A script itself is no template.

mod answer;
mod settings;
mod shell;
mod template;

use vendordock_plugin::{Error, FieldError, Manifest, Plugin, Request, Response, config, export};

use settings::Settings;

struct Static;

impl Plugin for Static {
    fn describe() -> Manifest {
        Manifest {
            name: "static".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Answers with what its configuration says".to_owned(),
            config_schema: settings::SCHEMA.to_owned(),
            idempotent: true,
            ..Manifest::default()
        }
    }

    fn validate() -> Vec<FieldError> {
        match config::read::<Settings>() {
            Ok(settings) => settings.faults(),
            Err(faults) => faults.into(),
        }
    }

    fn provide(request: Request) -> Result<Response, Error> {
        let settings: Settings = config::read()?;
        answer::respond(&settings, &request)
    }
}

export!(Static);
