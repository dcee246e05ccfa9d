//! The bindings, generated from `wit/`.
//!
//! A plugin crate expands an export macro of one module, or of both. `pub_export_macro` makes the
//! macro carry the description of the exports, so that a plugin claims those it has and no others.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the documentation is in wit/, and crossing the boundary is unsafe"
)]

/// The world `vendordata-provider`: all imports, and what every plugin exports.
pub mod provider {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "vendordock:vendordata/vendordata-provider",
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// What `vendordata-provider-with-events` has beyond `vendordata-provider`.
///
/// wit-component joins the worlds that it finds in a module, so a plugin that expands both macros is
/// a component of the greater world. Generating that world as a whole would make a second type of
/// each that the two have in common, and a plugin would have to say which `Manifest` it means.
pub mod events {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package vendordock:plugin-sdk;

            world events {
                import vendordock:vendordata/types@0.1.0;
                export vendordock:vendordata/event-handler@0.1.0;
            }
        ",
        with: {
            "vendordock:vendordata/types@0.1.0": crate::types,
        },
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}
