//! Reading what nova sent.

use crate::Instance;

impl Instance {
    /// The value that the tenant gave to a key of the instance's metadata.
    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.metadata.iter().find(|(name, _)| name == key)?;
        Some(value)
    }
}
