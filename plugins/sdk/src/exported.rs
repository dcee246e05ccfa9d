//! Where a call of the gateway enters a plugin: the panic hook is set, then the plugin is called.

use std::marker::PhantomData;

use crate::bindings::{events, provider};
use crate::{
    CallContext, Error, Event, EventHandler, EventKind, FieldError, Manifest, Outcome, Plugin,
    Request, Response, panic,
};

/// A plugin as the generated code wants it.
pub struct Exported<T>(PhantomData<T>);

impl<T: Plugin> provider::exports::vendordock::vendordata::plugin::Guest for Exported<T> {
    fn describe() -> Manifest {
        panic::report_through_the_gateway();
        T::describe()
    }

    fn validate() -> Vec<FieldError> {
        panic::report_through_the_gateway();
        T::validate()
    }
}

impl<T: Plugin> provider::exports::vendordock::vendordata::provider::Guest for Exported<T> {
    fn provide(request: Request) -> Result<Response, Error> {
        panic::report_through_the_gateway();
        T::provide(request)
    }
}

impl<T: EventHandler> events::exports::vendordock::vendordata::event_handler::Guest
    for Exported<T>
{
    fn subscriptions() -> Vec<EventKind> {
        panic::report_through_the_gateway();
        T::subscriptions()
    }

    fn handle(context: CallContext, event: Event) -> Result<Outcome, Error> {
        panic::report_through_the_gateway();
        T::handle(context, event)
    }
}
