//! `[targets.NAME.credentials.NAME]`: a secret that one target may have used, and where.

use serde::Deserialize;

use super::{Origin, SecretSource};

/// A secret the host may put on the wire for a plugin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Where the secret is.
    pub secret: SecretSource,
    /// Origins it may be sent to; each must be among the target's `egress`.
    pub origins: Vec<Origin>,
}
