//! What a plugin implements, and the macros that make a component of it.

use crate::{
    CallContext, Error, Event, EventKind, FieldError, Manifest, Outcome, Request, Response,
};

/// A plugin that answers requests. Name it in [`export!`](crate::export).
///
/// There is no `self`: each call runs in an instance of its own, which is thrown away after it.
pub trait Plugin {
    /// Who this plugin is, and which configuration it takes. Run when it is loaded; nothing of the
    /// gateway may be called from here.
    fn describe() -> Manifest;

    /// Faults in a configuration that passed the manifest's schema. May call `config` and `log` only.
    fn validate() -> Vec<FieldError> {
        Vec::new()
    }

    /// Answers for one instance.
    ///
    /// # Errors
    ///
    /// Each variant of [`Error`] says which status nova gets, and who reads the text. A panic is
    /// status 500, and never the way to say "not found".
    fn provide(request: Request) -> Result<Response, Error>;
}

/// A plugin that also follows the life of instances. Name it in
/// [`export_with_events!`](crate::export_with_events).
pub trait EventHandler: Plugin {
    /// The kinds of event to deliver. Run when the plugin is loaded; nothing of the gateway may be
    /// called from here.
    fn subscriptions() -> Vec<EventKind>;

    /// Takes notice of one event, which may have been delivered before: see [`Event::id`].
    ///
    /// # Errors
    ///
    /// An error is retried as [`Outcome::RetryAfter`] is, by the operator's rule.
    fn handle(context: CallContext, event: Event) -> Result<Outcome, Error>;
}

/// Makes the crate a component that answers requests by the given [`Plugin`]. Once in a crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::Exported<$plugin>;
            $crate::__private::provider::export!(Exported with_types_in $crate::__private::provider);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::__private::is_plugin::<$plugin>();
    };
}

/// Makes the crate a component that answers requests and follows events by the given
/// [`EventHandler`]. Once in a crate, in place of [`export!`](crate::export).
#[macro_export]
macro_rules! export_with_events {
    ($plugin:ty) => {
        $crate::export!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::Exported<$plugin>;
    $crate::__private::events::export!(Exported with_types_in $crate::__private::events);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::__private::is_event_handler::<$plugin>();
    };
}
