//! Headers that the operator adds to a plugin's requests.
//!
//! Every request that leaves for a plugin passes [`Headers::add`], whichever interface it came through. The plugin neither
//! sees the values nor can it set another.

use reqwest::header::{HeaderMap, HeaderName};

use super::secret::{self, Form, Secret, header_value};
use super::{Error, RequestError};
use crate::config::{self, Origin};

/// A target's headers.
pub(super) struct Headers(Vec<Header>);

struct Header {
    name: HeaderName,
    origins: Vec<Origin>,
    secret: Secret,
}

impl Headers {
    /// Reads the values.
    pub(super) fn read(target: &config::Target, key: &str) -> Result<Self, Error> {
        let (headers, faults) = Self::read_all(target, key);
        match faults.into_iter().next() {
            None => Ok(headers),
            Some(first) => Err(first),
        }
    }

    /// What can be read, and all that cannot.
    pub(super) fn read_all(target: &config::Target, key: &str) -> (Self, Vec<Error>) {
        let (mut headers, mut faults) = (Vec::<Header>::new(), Vec::new());
        for (group, configured) in &target.headers {
            let fault = |source| Error::Header {
                group: group.clone(),
                source,
            };
            let resolved = match configured.resolved() {
                Ok(resolved) => resolved,
                Err(error) => {
                    faults.push(fault(HeaderError::Environment(error)));
                    continue;
                }
            };
            for (header, source) in resolved.headers {
                let name = header.name();
                let twice = headers.iter().any(|other| {
                    let shared = other
                        .origins
                        .iter()
                        .any(|at| configured.origins.contains(at));
                    other.name == name && shared
                });
                if twice {
                    faults.push(fault(HeaderError::Twice(header.to_string())));
                    continue;
                }
                let form = Form {
                    header: true,
                    ..Form::default()
                };
                let key = format!("{key}.headers.{group} {header}");
                match Secret::read(key, &source, form) {
                    Ok(secret) => headers.push(Header {
                        name,
                        origins: configured.origins.clone(),
                        secret,
                    }),
                    Err(error) => {
                        let name = header.to_string();
                        faults.push(fault(HeaderError::Secret { name, error }));
                    }
                }
            }
        }
        (Self(headers), faults)
    }

    /// Adds those that belong to an origin.
    ///
    /// # Errors
    ///
    /// When the plugin has set one of them itself.
    pub(super) fn add(&self, origin: &Origin, to: &mut HeaderMap) -> Result<(), RequestError> {
        for header in self.at(origin) {
            if to.contains_key(&header.name) {
                let message = format!("the header `{}` is the gateway's to set", header.name);
                return Err(RequestError::Invalid(message));
            }
        }
        for header in self.at(origin) {
            let value = header_value(header.secret.current().bytes());
            let value = value.expect("it was checked as it was read");
            to.insert(header.name.clone(), value);
        }
        Ok(())
    }

    /// Whether one of that name belongs to an origin.
    pub(super) fn have(&self, origin: &Origin, name: &HeaderName) -> bool {
        self.at(origin).any(|header| header.name == *name)
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().map(|header| &header.secret)
    }

    fn at(&self, origin: &Origin) -> impl Iterator<Item = &Header> {
        self.0
            .iter()
            .filter(|header| header.origins.contains(origin))
    }
}

/// Why a group of headers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The environment's variables are wrong.
    #[error(transparent)]
    Environment(#[from] config::EnvError),
    /// Two groups set it for one origin.
    #[error("the header `{0}` is set for the same origin by another group")]
    Twice(String),
    /// A value cannot be had.
    #[error("header `{name}`")]
    Secret {
        /// The header.
        name: String,
        /// Why.
        #[source]
        error: secret::Error,
    },
}
