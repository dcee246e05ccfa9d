//! A request's body, before anything is known of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vendordock::request::Request;

fuzz_target!(|body: &[u8]| {
    let with = Request::read(body, true);
    let without = Request::read(body, false);
    if let Ok(request) = &without {
        assert_eq!(request.user_data, None);
        // What a plugin is given is JSON, and reads back as the same request.
        let again = Request::read(request.raw.as_bytes(), false).expect("it was read");
        assert_eq!(again.digest, request.digest);
        let raw: serde_json::Value = serde_json::from_str(&request.raw).expect("it is JSON");
        assert!(raw["user-data"].is_null(), "user data that was not granted");
        assert_eq!(raw["instance-id"], *request.instance_id);
        assert_eq!(raw["project-id"], *request.project_id);
    }
    // User data that is no base64 is a fault only where it is granted.
    if with.is_ok() {
        assert!(without.is_ok());
    }
});
