//! What `wit/` says, as Rust.
//!
//! Imports that may wait are async; the others answer at once and cost some tens of nanoseconds. All are
//! trappable, because a call from `describe` has to trap.

#![expect(missing_docs, reason = "wit/ documents every item")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "vendordata-provider",
    imports: {
        "vendordock:vendordata/http": async | trappable,
        "vendordock:vendordata/openstack": async | trappable,
        "vendordock:vendordata/state": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "vendordock:vendordata/credentials.credential": crate::egress::Credential,
    },
});
