//! Where a plugin panicked, told to the gateway's log before the instance is gone.
//!
//! A plugin has no standard error, and all that the gateway sees of a panic is a trap. The place is
//! logged, and the message when it is a literal of the source. A formatted message is not: whatever
//! the plugin had in its hands can be in it (`unwrap` on an `Err` prints the whole error), and no
//! secret or user data may enter the log.

use std::panic::PanicHookInfo;

use crate::log::{self, Level};

/// Sets the hook. Each instance serves one call, so this is done in each call; it allocates nothing
/// and is a handful of stores.
pub(crate) fn report_through_the_gateway() {
    std::panic::set_hook(Box::new(|info| {
        // From `describe`, where nothing may be called, this traps: a panic is a trap anyway.
        log::emit(Level::Error, "plugin panicked", &fields(info));
    }));
}

fn fields(info: &PanicHookInfo<'_>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    if let Some(location) = info.location() {
        fields.push(("panic.location".to_owned(), location.to_string()));
    }
    // A literal comes as `&'static str`, a formatted message as `String`.
    if let Some(message) = info.payload().downcast_ref::<&'static str>() {
        fields.push(("panic.message".to_owned(), (*message).to_owned()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

    /// What would be logged for a panic in `body`.
    fn logged(body: fn()) -> Vec<(String, String)> {
        // The hook is the whole process's: one test at a time.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        std::panic::set_hook(Box::new(|info| *SEEN.lock().unwrap() = fields(info)));
        std::panic::catch_unwind(body).unwrap_err();
        drop(std::panic::take_hook());
        std::mem::take(&mut SEEN.lock().unwrap())
    }

    #[test]
    fn the_place_and_a_literal_message_are_logged() {
        let logged = logged(|| panic!("no domain"));

        let [(location_key, location), (message_key, message)] = &logged[..] else {
            panic!("{logged:?}");
        };
        assert_eq!(location_key, "panic.location");
        assert!(location.contains("panic.rs:"), "{location}");
        assert_eq!(
            (message_key.as_str(), message.as_str()),
            ("panic.message", "no domain")
        );
    }

    #[test]
    fn a_formatted_message_is_not_logged() {
        let logged = logged(|| {
            let secret = std::hint::black_box("hunter2");
            panic!("cannot log in with {secret}")
        });

        let keys: Vec<_> = logged.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["panic.location"]);
    }

    #[test]
    fn the_error_that_an_unwrap_met_is_not_logged() {
        let logged = logged(|| {
            let login: Result<(), &str> = std::hint::black_box(Err("hunter2"));
            login.unwrap();
        });

        let keys: Vec<_> = logged.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["panic.location"]);
    }
}
