//! What the host offers a plugin: one file for each interface of `wit/`, and `wasi:http`.

mod clock;
mod config;
mod credentials;
mod http;
mod log;
mod openstack;
mod random;
mod state;
mod wasi_http;

pub(super) use self::log::{LogBudget, LogBudgets};
pub(super) use self::state::Spent as StateSpent;
pub(super) use self::wasi_http::WasiHttp;
use super::bindings::vendordock::vendordata;
use super::call::Call;

impl vendordata::types::Host for Call {}
