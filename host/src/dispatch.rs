//! From a body to an answer: the cloud, its target, the cache, the plugin.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::auth::Auth;
use crate::cache::{About, Answers, Kept, Question};
use crate::config::{CloudName, Policy, TargetName};
use crate::error::Error;
use crate::loader;
use crate::openstack::LookUps;
use crate::plugin::{Answer, Plugin};
use crate::request::Request;
use crate::telemetry::metrics::{CacheState, Requests, TargetMetrics};
use crate::unabandoned::Unabandoned;

/// A run ends itself at its deadline, and says whose fault that is. Whoever waits for it lets it speak.
const GRACE: Duration = Duration::from_millis(50);

/// All that serving a request needs. Built once, before the port opens.
pub struct Gateway {
    /// The clouds by name.
    pub clouds: HashMap<CloudName, Cloud>,
    /// What was answered.
    pub answers: Answers,
    /// The longest request body.
    pub body_limit_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// For requests that name no cloud of ours.
    pub no_cloud: Requests,
    /// Whether the end has begun, for whoever asks for readiness.
    pub stopping: Arc<AtomicBool>,
}

/// One cloud: its callers, and the targets that it is served.
pub struct Cloud {
    /// How its callers prove who they are.
    pub auth: Auth,
    /// Whose tokens are good where a target says nothing else.
    pub accept: Policy,
    /// What its plugins look up; none where no target may.
    pub look_ups: Option<Arc<LookUps>>,
    /// The targets by name.
    pub targets: HashMap<TargetName, Arc<Target>>,
    /// For requests that name none of them.
    pub no_target: Requests,
}

/// One target as it serves one cloud.
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Whose tokens are good.
    pub accept: Policy,
    /// Unlike that of any other build or configuration in this process.
    pub generation: u64,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// The longest time that an answer is used again.
    pub cache_max_ttl: Duration,
    /// The plugin, or why there is none.
    pub plugin: Result<Arc<Plugin>, Arc<loader::Error>>,
    /// What is counted of it.
    pub metrics: Arc<TargetMetrics>,
}

impl Gateway {
    /// Every target of every cloud.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.clouds
            .values()
            .flat_map(|cloud| cloud.targets.values())
    }

    /// The answer that is kept for a body. On this path nothing is parsed and nothing copied.
    pub fn kept(&self, target: &Target, body: &Bytes) -> Option<Kept> {
        self.answers.get(&target.question(body))
    }

    /// Answers one body for one target, by a run of its plugin or by the answer to an equal request. Fills in the
    /// fields of the current span that only the body tells.
    ///
    /// # Errors
    ///
    /// Whatever keeps the target from answering before `deadline`.
    pub async fn answer(
        self: &Arc<Self>,
        target: &Target,
        body: &Bytes,
        request_id: &str,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<(Kept, CacheState), Error> {
        let Ok(plugin) = &target.plugin else {
            return Err(Error::NotLoaded);
        };
        let request = Request::read(body, plugin.sees_user_data())?;
        let span = Span::current();
        span.record("instance.id", &request.instance_id);
        span.record("project.id", &request.project_id);
        let digest = request.digest;
        let (gateway, plugin) = (self.clone(), plugin.clone());
        let (question, most, request_id) = (
            target.question(body),
            target.cache_max_ttl,
            request_id.into(),
        );
        let run = async move {
            // Boxed, because what waits for it hands it on several times, and it is large.
            let run = Box::pin(async move {
                let (instance_id, project_id) =
                    (request.instance_id.clone(), request.project_id.clone());
                let answer = plugin
                    .provide(request, request_id, traceparent, deadline)
                    .await?;
                let about = About {
                    instance_id,
                    project_id,
                    secret: answer.secret,
                };
                let ttl = answer.ttl.min(most);
                Ok((Answer { ttl, ..answer }, about))
            });
            gateway.answers.get_or_run(question, digest, run).await
        };
        // A caller who hangs up does not end the run for the others who wait for it: a second run would issue a second
        // password.
        let running = Unabandoned::new(run.instrument(span));
        match tokio::time::timeout_at(deadline + GRACE, running).await {
            Ok(answer) => match answer? {
                (body, CacheState::Miss) if most.is_zero() => Ok((body, CacheState::None)),
                answer => Ok(answer),
            },
            // The run that this request waits for began later and has more time.
            Err(_elapsed) => Err(Error::Deadline),
        }
    }
}

impl Target {
    fn question(&self, body: &Bytes) -> Question {
        Question {
            generation: self.generation,
            body: body.clone(),
        }
    }
}
