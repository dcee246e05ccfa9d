//! A loaded plugin, and one call of it.
//!
//! A call runs in a store of its own, with the target's limits, and the store is dropped when it ends, however it
//! ends. The deadline stands in three places, since none of them sees everything: a timeout around the call, for
//! when it waits; a look at the clock after each tick of the engine, for when the guest computes; and every import
//! that waits is given what is left.

mod answer;
mod bindings;
mod breaker;
mod call;
mod cpu_time;
mod crash;
pub mod engine;
mod grants;
mod host;
mod lane;
mod limits;
mod load;
mod loading;
mod mask;
mod pool;
mod refusal;
mod stderr;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};

pub use self::answer::{Error as AnswerError, check_object};
use self::bindings::VendordataProviderPre;
pub use self::bindings::exports::vendordock::vendordata::plugin::Manifest;
use self::bindings::vendordock::vendordata::types as wit;
pub use self::bindings::vendordock::vendordata::types::{
    CacheHint, CacheScope, FieldError, Part, PartKind,
};
pub use self::breaker::Paused;
use self::breaker::{Attempt, Breaker};
use self::call::{Call, Phase, Subject};
use self::cpu_time::CpuTime;
pub use self::crash::Crash;
pub use self::engine::Engine;
pub use self::grants::Grants;
use self::lane::InLane;
pub use self::limits::{Limit, Reached};
use self::load::Load;
pub use self::loading::{ConfigFault, LoadError};
pub use self::pool::Pool;
pub use self::refusal::Refusal;
use crate::request::Request;
use crate::telemetry::metrics::{PluginRun, RunOutcome};
use crate::telemetry::{trace_context, traces};

/// A plugin with the grants of one target.
pub struct Plugin {
    engine: Engine,
    pre: VendordataProviderPre<Call>,
    grants: Arc<Grants>,
    manifest: Manifest,
    load: Load,
    breaker: Breaker,
    /// Whether the last call computed for long, so that the next goes straight to the lane.
    computes_for_long: AtomicBool,
}

/// What a plugin answers for one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// JSON of the target's kind, as the plugin wrote it.
    pub body: Bytes,
    /// What it has for cloud-init, where a target is composed of it.
    pub parts: Vec<Part>,
    /// How long it may be used again; zero: not at all.
    pub ttl: Duration,
    /// Whether nobody but its instance may know what it holds.
    pub secret: bool,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugin says why. The text is its own.
    #[error("the plugin answered: {0:?}")]
    Answered(Refusal),
    /// The call was still running.
    #[error("the plugin was still running at its deadline")]
    Deadline,
    /// As many calls run as the target or the engine allows, and none ended in time.
    #[error("no place among the running calls became free in time")]
    Busy,
    /// As many calls wait for such a place as the target allows.
    #[error("as many calls run and wait as the target allows")]
    Overloaded,
    /// It failed so often that it is not called for a while.
    #[error("the plugin is not called for a while")]
    Paused(#[from] Paused),
    /// It met a limit of its target's, and is gone.
    #[error("the plugin trapped, since it {reached}")]
    Limit {
        /// Which.
        reached: Reached,
        /// How that ended.
        #[source]
        crash: Crash,
    },
    /// A panic, an uncaught exception, a call from where none may come: the guest is gone.
    #[error("the plugin trapped")]
    Trap(#[source] Crash),
    /// What it answered cannot be handed on.
    #[error("the plugin's answer is not handed on")]
    Answer(#[source] AnswerError),
}

impl Plugin {
    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the plugin failed so often that it is not called for a while.
    pub fn is_paused(&self) -> bool {
        self.breaker.is_tripped()
    }

    /// Whether the target grants user data.
    pub fn sees_user_data(&self) -> bool {
        self.grants.user_data
    }

    /// Reads the target's secrets again whenever they change, for as long as it is polled.
    pub async fn follow_secrets(&self) {
        let span = tracing::info_span!(
            "secrets",
            vendordata.cloud = %self.grants.cloud,
            vendordata.target = %self.grants.target,
        );
        self.grants.egress.follow_secrets().instrument(span).await;
    }

    /// Answers one request in a fresh store. `traceparent` is the caller's, for the plugin and its upstreams.
    ///
    /// # Errors
    ///
    /// Whatever keeps the plugin from answering before `deadline`.
    pub async fn provide(
        &self,
        request: Request,
        request_id: Arc<str>,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let metrics = &self.grants.metrics;
        let attempt = self
            .breaker
            .enter(&request.instance_id, &request.project_id)?;
        let waiting = metrics.waiting();
        let entered = self.load.enter(&self.engine.permits, deadline).await;
        let _place = entered.inspect_err(|_refused| metrics.refused_for_load())?;
        drop(waiting);
        let _running = metrics.running();
        let span = self.span();
        let traceparent = trace_context::outgoing(&span).or(traceparent);
        let started = Instant::now();
        let budget = deadline.saturating_duration_since(started);
        let mut store = Call::store(
            &self.engine.engine,
            self.grants.clone(),
            Phase::Provide,
            traceparent.clone(),
            deadline,
        );
        store.data_mut().request_id = Some(request_id.clone());
        store.data_mut().subject = self
            .grants
            .openstack
            .look_ups
            .as_ref()
            .map(|_some| Subject {
                instance_id: request.instance_id.clone(),
                project_id: request.project_id.clone(),
                image_id: request.image_id.clone(),
            });
        let request = wit::Request {
            context: wit::CallContext {
                request_id: request_id.as_ref().to_owned(),
                target: self.grants.target.to_string(),
                cloud: self.grants.cloud.to_string(),
                budget_ms: milliseconds(budget),
                traceparent: traceparent.as_deref().map(str::to_owned),
            },
            instance: wit::Instance {
                id: request.instance_id,
                project_id: request.project_id,
                hostname: request.hostname,
                image_id: request.image_id,
                user_data: request.user_data,
                metadata: request.metadata.into_iter().collect(),
                boot_roles: request.boot_roles,
            },
            raw: request.raw,
        };
        let clock = store.data().cpu_clock.clone();
        let mut began = false;
        let (outcome, cpu, place) = {
            // Pinned where it is: it is several kilobytes, and each layer around it would move it once.
            let call = pin!(async {
                let provider = self.pre.instantiate_async(&mut store).await?;
                began = true;
                provider
                    .vendordock_vendordata_provider()
                    .call_provide(&mut store, &request)
                    .await
            });
            let call = CpuTime::of(call.instrument(span.clone()), clock);
            let known = self.computes_for_long.load(Ordering::Relaxed);
            let mut call = InLane::new(call, &self.engine.lane, known);
            let outcome = tokio::time::timeout_at(deadline, &mut call).await;
            let computed_for_long = call.spent() >= lane::USUAL;
            if computed_for_long != known {
                self.computes_for_long
                    .store(computed_for_long, Ordering::Relaxed);
            }
            (outcome, call.spent(), call.leave())
        };
        metrics.ran(PluginRun {
            wall: started.elapsed(),
            cpu,
            memory_bytes: store.data().taken.memory_bytes() as u64,
        });
        store.data().report_dropped_lines();
        let response = match outcome {
            Err(_elapsed) => Err(Error::Deadline),
            Ok(Err(error)) => Err(crash::end(&error, began, store.data(), Some(&request))),
            Ok(Ok(Err(refusal))) => {
                Err(Error::Answered(Refusal::new(refusal, &self.grants.mask())))
            }
            Ok(Ok(Ok(response))) => self.checked(response),
        };
        // To give much memory back takes as long as to take it.
        drop(store);
        drop(place);
        self.count(&span, response.as_ref().err());
        self.judge(attempt, budget, response.as_ref().err());
        let response = response?;
        let hint = response.cache.unwrap_or(self.manifest.cache);
        Ok(Answer {
            secret: response.secret,
            body: response.body.into(),
            parts: response.parts,
            ttl: match hint.scope {
                CacheScope::None => Duration::ZERO,
                // The wider scopes are a permission, not a duty: each instance gets an entry of its own.
                CacheScope::Instance | CacheScope::Project | CacheScope::Target => {
                    Duration::from_millis(hint.ttl_ms.into())
                }
            },
        })
    }

    /// The span of one run. No data of the instance is in it.
    fn span(&self) -> Span {
        tracing::info_span!(
            target: traces::SPANS,
            "plugin",
            vendordata.target = %self.grants.target,
            plugin = self.manifest.name,
            outcome = field::Empty,
            otel.status_code = field::Empty,
        )
    }

    /// A response whose body may go to a guest.
    fn checked(&self, response: wit::Response) -> Result<wit::Response, Error> {
        let limits = &self.grants.limits;
        let (most_bytes, deepest) = (limits.response_bytes, limits.response_depth);
        answer::check(&response, self.grants.kind, most_bytes, deepest).map_err(Error::Answer)?;
        Ok(response)
    }

    /// Says how a run ended, in numbers and in its span.
    fn count(&self, span: &Span, error: Option<&Error>) {
        let outcome = error.map_or(RunOutcome::Answered, Error::outcome);
        self.grants.metrics.ended(outcome);
        span.record("outcome", outcome.as_str());
        if error.is_some() {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Tells the breaker whether the plugin did its part.
    fn judge(&self, attempt: Attempt<'_>, budget: Duration, error: Option<&Error>) {
        match error {
            None | Some(Error::Answered(_)) => attempt.succeeded(),
            // The places were taken, and what was left of the time when one became free says nothing about the plugin.
            Some(Error::Deadline) if budget < self.grants.limits.timeout / 2 => {}
            Some(Error::Busy | Error::Overloaded | Error::Paused(_)) => {}
            Some(error) => attempt.failed(error.outcome()),
        }
    }
}

impl Error {
    /// The word for it in metrics and traces.
    fn outcome(&self) -> RunOutcome {
        match self {
            Self::Answered(_) | Self::Busy | Self::Overloaded | Self::Paused(_) => {
                RunOutcome::Refused
            }
            Self::Deadline => RunOutcome::Timeout,
            Self::Limit { reached, .. } => reached.limit.outcome(),
            Self::Trap(_) => RunOutcome::Trap,
            Self::Answer(AnswerError::TooLong { .. }) => RunOutcome::ResponseBytes,
            Self::Answer(AnswerError::TooDeep { .. }) => RunOutcome::ResponseDepth,
            Self::Answer(_) => RunOutcome::BadAnswer,
        }
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
