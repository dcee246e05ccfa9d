//! `clock`: what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::plugin::bindings::vendordock::vendordata::clock;
use crate::plugin::call::{Call, Phase};

impl clock::Host for Call {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.allow("clock.now", Phase::Provide)?;
        // A clock before 1970 is no clock; 0 says so as well as anything.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
