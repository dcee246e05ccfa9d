//! What the host offers a plugin: one file for each interface of `wit/`.

mod clock;
mod config;
mod credentials;
mod http;
mod log;
mod openstack;
mod random;
mod state;

pub(super) use self::log::MOST_LINES as MOST_LOG_LINES;
use super::bindings::vendordock::vendordata;
use super::call::Call;

impl vendordata::types::Host for Call {}
