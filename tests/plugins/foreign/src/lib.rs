//! A plugin for another version of the gateway: whoever loads it is to be told so, rather than which
//! function or type is amiss.

#[cfg(target_arch = "wasm32")]
mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unsafe_code,
        reason = "generated, and crossing the boundary is unsafe"
    )]

    wit_bindgen::generate!({ path: "wit", world: "vendordata-provider" });

    struct Foreign;

    impl exports::vendordock::vendordata::plugin::Guest for Foreign {
        fn describe() -> String {
            vendordock::vendordata::log::line("describe");
            "foreign".to_owned()
        }
    }

    impl exports::vendordock::vendordata::provider::Guest for Foreign {
        fn provide(request: String) -> Result<String, String> {
            Ok(request)
        }
    }

    export!(Foreign);
}
