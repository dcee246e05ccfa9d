//! `openstack`: look-ups with the gateway's own account, by kinds that the target was granted.
//!
//! An id may be a tenant's words that a plugin took from an instance's metadata. With the narrow grants, what is looked up
//! is the request's own: nobody can make a plugin tell one tenant of another tenant's servers.

use crate::config::LookUp;
use crate::openstack::{Error, Question};
use crate::plugin::bindings::vendordock::vendordata::openstack::{Host, LookupError};
use crate::plugin::call::{Call, Phase, Subject};
use crate::telemetry::metrics::LookUpOutcome;

/// Look-ups of one call.
const MOST_LOOK_UPS: u32 = 64;

type Answer = wasmtime::Result<Result<String, LookupError>>;

impl Host for Call {
    async fn project(&mut self, id: String) -> Answer {
        self.by_id(LookUp::Project, &id).await
    }

    async fn domain(&mut self, id: String) -> Answer {
        self.by_id(LookUp::Domain, &id).await
    }

    async fn image(&mut self, id: String) -> Answer {
        self.by_id(LookUp::Image, &id).await
    }

    async fn server(&mut self, id: String) -> Answer {
        self.by_id(LookUp::Server, &id).await
    }

    async fn ports(&mut self, server_id: String) -> Answer {
        self.by_id(LookUp::Ports, &server_id).await
    }

    async fn keypair(&mut self, user_id: String, name: String) -> Answer {
        let question = Question::keypair(&user_id, &name);
        self.look_up(LookUp::Keypair, question, |_subject| false)
            .await
    }
}

impl Call {
    async fn by_id(&mut self, kind: LookUp, id: &str) -> Answer {
        let is_own = |subject: &Subject| match kind {
            LookUp::Project => subject.project_id == id,
            LookUp::Image => subject.image_id.as_deref() == Some(id),
            LookUp::Server | LookUp::Ports => subject.instance_id == id,
            LookUp::Domain | LookUp::Keypair => false,
        };
        self.look_up(kind, Question::by_id(kind, id), is_own).await
    }

    async fn look_up(
        &mut self,
        kind: LookUp,
        question: Option<Question>,
        is_own: impl Fn(&Subject) -> bool,
    ) -> Answer {
        self.allow("openstack", Phase::Provide)?;
        let granted = &self.grants.openstack;
        let (name, target) = (kind.as_str(), &self.grants.target);
        let (Some(look_ups), Some(any)) = (&granted.look_ups, granted.scope(kind)) else {
            tracing::warn!(
                "the plugin asked for a look-up of {name}, which this target was not granted; to permit it, add \
                 \"{name}\" to `openstack` under [targets.{target}]"
            );
            if let Some(look_ups) = &granted.look_ups {
                look_ups.turned_away(kind, LookUpOutcome::NotGranted);
            }
            return Ok(Err(LookupError::NotGranted));
        };
        if !any && !self.subject.as_ref().is_some_and(is_own) {
            tracing::warn!(
                "the plugin asked for a look-up of {name} that is not of the request's own instance; to permit it, write \
                 \"any-{name}\" in `openstack` under [targets.{target}]"
            );
            look_ups.turned_away(kind, LookUpOutcome::NotGranted);
            return Ok(Err(LookupError::NotGranted));
        }
        self.look_ups += 1;
        if self.look_ups > MOST_LOOK_UPS {
            look_ups.turned_away(kind, LookUpOutcome::TooMany);
            let reason =
                format!("this call has made {MOST_LOOK_UPS} look-ups, which is all it may");
            return Ok(Err(LookupError::Unavailable(reason)));
        }
        let Some(question) = question else {
            look_ups.turned_away(kind, LookUpOutcome::Invalid);
            return Ok(Err(LookupError::NotFound));
        };
        Ok(match look_ups.look_up(question, self.deadline).await {
            Ok(answer) => Ok(answer.as_ref().to_owned()),
            Err(Error::NotFound) => Err(LookupError::NotFound),
            Err(Error::Unavailable(reason)) => Err(LookupError::Unavailable(reason)),
        })
    }
}
