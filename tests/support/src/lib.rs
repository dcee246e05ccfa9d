//! Strict stand-ins for the services that Vendordock talks to, for the tests and for `cargo xtask demo`.
//!
//! Each listens on loopback, on a port that the kernel picks, from `start()` until it is dropped. Each
//! speaks the protocol of what it stands for as strictly as the real one does, down to the refusals: a
//! client that works here by luck would fail at the first real server. Where a stand-in knows less than
//! the real one, its module says so.
//!
//! What a test sets up and looks at is a method of the stand-in itself. What goes wrong below the
//! protocol (slow, hung, cut off) is the same for all, and in [`Faults`].

mod authority;
mod faults;
pub mod guarded;
pub mod ipa;
pub mod keystone;
pub mod openstack;
mod server;

pub use authority::{Authority, Issued};
pub use faults::Faults;
pub use guarded::Guarded;
pub use ipa::Ipa;
pub use keystone::Keystone;
pub use openstack::OpenStack;
