//! `random`: bytes fit for secrets.

use crate::plugin::bindings::vendordock::vendordata::random;
use crate::plugin::call::{Call, Phase};

const MOST_BYTES: u32 = 4_096;

/// More than one call gives.
#[derive(Debug, thiserror::Error)]
#[error("random.bytes gives at most {MOST_BYTES} bytes, and {0} were asked for")]
struct TooMany(u32);

impl random::Host for Call {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        self.allow("random.bytes", Phase::Provide)?;
        if length > MOST_BYTES {
            return Err(TooMany(length).into());
        }
        let mut bytes = vec![0; length as usize];
        getrandom::fill(&mut bytes)?;
        Ok(bytes)
    }
}
