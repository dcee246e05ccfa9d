//! What a Vendordock plugin written in Rust uses.
//!
//! A plugin is a type that implements [`Plugin`], named once in [`export!`]:
//!
//! ```
//! use vendordock_plugin::{Error, Manifest, Plugin, Request, Response, config, export};
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     domain: String,
//! }
//!
//! struct Fqdn;
//!
//! impl Plugin for Fqdn {
//!     fn describe() -> Manifest {
//!         Manifest {
//!             name: "fqdn".to_owned(),
//!             version: env!("CARGO_PKG_VERSION").to_owned(),
//!             description: "Tells an instance its full name".to_owned(),
//!             config_schema: r#"{
//!                 "type": "object",
//!                 "properties": { "domain": { "type": "string" } },
//!                 "required": ["domain"],
//!                 "additionalProperties": false
//!             }"#
//!             .to_owned(),
//!             idempotent: true,
//!             ..Manifest::default()
//!         }
//!     }
//!
//!     fn provide(request: Request) -> Result<Response, Error> {
//!         let settings = config::read()?;
//!         Response::json(&fqdn(&settings, request.instance.hostname.as_deref()))
//!     }
//! }
//!
//! /// The decision, apart from the gateway, so that it can be tested without one.
//! fn fqdn(settings: &Settings, hostname: Option<&str>) -> serde_json::Value {
//!     match hostname {
//!         Some(hostname) => serde_json::json!({ "fqdn": format!("{hostname}.{}", settings.domain) }),
//!         None => serde_json::json!({}),
//!     }
//! }
//!
//! export!(Fqdn);
//! ```
//!
//! The modules [`config`], [`credentials`], [`http`], [`log`], [`openstack`], [`random`], [`state`]
//! and [`clock`] are what the gateway offers, generated from the same description that the gateway
//! is built from. In a native test there is no gateway, and calling one of them aborts the test: keep
//! decisions in functions that take what they need as arguments.
//!
//! Besides the bindings, every plugin gets an allocator fit for an instance that lives for one call,
//! and a panic hook, since there is no standard error to write to.

// A native program that a plugin is tested in keeps its own.
#[cfg(any(target_arch = "wasm32", test))]
mod allocator;
mod bindings;
pub mod config;
pub mod credentials;
mod exported;
pub mod http;
mod panic;
mod plugin;
mod request;
mod response;
pub mod state;

#[doc(inline)]
pub use bindings::provider::vendordock::vendordata::{clock, log, openstack, random, types};

pub use bindings::events::exports::vendordock::vendordata::event_handler::{
    Event, EventKind, Outcome,
};
pub use bindings::provider::exports::vendordock::vendordata::plugin::Manifest;
pub use plugin::{EventHandler, Plugin};
pub use types::{
    CacheHint, CacheScope, CallContext, Error, FieldError, Instance, Json, Part, PartKind, Request,
    Response,
};

/// For what the macros expand to in a plugin's crate, and for nothing else.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{events, provider};
    pub use crate::exported::Exported;

    // Called natively only, where nothing is exported: the plugin is type-checked all the same.
    pub const fn is_plugin<T: crate::Plugin>() {}
    pub const fn is_event_handler<T: crate::EventHandler>() {}
}
