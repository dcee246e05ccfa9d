//! The operator's configuration of this target.

use serde::de::DeserializeOwned;

use crate::{Error, FieldError};

pub use crate::bindings::provider::vendordock::vendordata::config::{all, get};

/// Reads the whole table into a type of the plugin.
///
/// # Errors
///
/// [`Faults`] when the table does not fit the type. The manifest's schema has been checked before,
/// so this says that schema and type do not agree.
pub fn read<T: DeserializeOwned>() -> Result<T, Faults> {
    parse(&all())
}

fn parse<T: DeserializeOwned>(table: &str) -> Result<T, Faults> {
    serde_json::from_str(table).map_err(|error| {
        Faults(vec![FieldError {
            pointer: String::new(),
            message: error.to_string(),
        }])
    })
}

/// What is wrong with a configuration: `?` makes it the error of `provide`, and `into` the answer of
/// `validate`.
#[derive(Debug)]
pub struct Faults(Vec<FieldError>);

impl From<Faults> for Error {
    fn from(Faults(faults): Faults) -> Self {
        Error::Misconfigured(faults)
    }
}

impl From<Faults> for Vec<FieldError> {
    fn from(Faults(faults): Faults) -> Self {
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Settings {
        domain: String,
    }

    #[test]
    fn a_table_is_read_into_the_plugins_type() {
        let settings: Settings = parse(r#"{ "domain": "example.test" }"#).unwrap();

        assert_eq!(settings.domain, "example.test");
    }

    #[test]
    fn a_table_that_does_not_fit_is_the_operators_to_mend() {
        let faults = parse::<Settings>(r#"{ "realm": "EXAMPLE.TEST" }"#).unwrap_err();

        assert_eq!(
            Error::from(faults),
            Error::Misconfigured(vec![FieldError {
                pointer: String::new(),
                message: "missing field `domain` at line 1 column 27".to_owned(),
            }])
        );
    }
}
