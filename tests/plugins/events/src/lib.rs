//! Keeps each event that it is told in the target's state, under the event's id, and answers a
//! request with those ids.

use serde_json::json;
use vendordock_plugin::{
    CallContext, Error, Event, EventHandler, EventKind, Manifest, Outcome, Plugin, Request,
    Response, export_with_events, state,
};

struct Events;

impl Plugin for Events {
    fn describe() -> Manifest {
        Manifest {
            name: "events".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            ..Manifest::default()
        }
    }

    fn provide(_: Request) -> Result<Response, Error> {
        let (ids, _) = state::list_keys("", None, 100)
            .map_err(|error| Error::Internal(format!("{error:?}")))?;
        Response::json(&json!({ "events": ids }))
    }
}

impl EventHandler for Events {
    fn subscriptions() -> Vec<EventKind> {
        vec![
            EventKind::InstanceCreated,
            EventKind::InstanceDeleted,
            EventKind::InstanceRebuilt,
            EventKind::InstanceResized,
            EventKind::InstanceRenamed,
            EventKind::InstanceMetadataChanged,
            EventKind::FloatingIpAttached,
            EventKind::FloatingIpDetached,
            EventKind::Other,
        ]
    }

    fn handle(_: CallContext, event: Event) -> Result<Outcome, Error> {
        state::set(&event.id, event.raw.as_bytes(), None)
            .map_err(|error| Error::Internal(format!("{error:?}")))?;
        Ok(Outcome::Done)
    }
}

export_with_events!(Events);
