//! Vendordock: one gateway for nova's dynamic vendordata, with plugins that answer.
//!
//! The modules, in the order in which a request meets them. `ARCHITECTURE.md` tells the same as a story.

pub mod admin;
pub mod cli;
pub mod config;
pub mod server;

pub mod auth;
pub mod request;

pub mod cache;
pub mod dispatch;

pub mod compose;

pub mod egress;
pub mod loader;
pub mod openstack;
pub mod plugin;
pub mod state;

pub mod error;
pub mod telemetry;
pub mod trust;
pub mod unabandoned;
pub mod watch;
