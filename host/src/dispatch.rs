//! From a body to an answer: the cloud, its target, the cache, the plugin.

mod composed;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument, Span};

pub use self::composed::Failure;
use crate::auth::Auth;
use crate::cache::{About, Answers, Kept, Question};
use crate::config::{CloudName, Kind, Member, OnFailure, OnMemberFailure, Policy, TargetName};
use crate::error::Error;
use crate::openstack::LookUps;
use crate::plugin::{Answer, AnswerError, Plugin};
use crate::request::Request;
use crate::telemetry::metrics::{CacheState, Requests, TargetMetrics};
use crate::unabandoned::Unabandoned;
use crate::{compose, loader, plugin};

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
    /// The cloud.
    pub cloud: CloudName,
    /// Whether nova may ask for it by its name.
    pub exposed: bool,
    /// Whose tokens are good.
    pub accept: Policy,
    /// Unlike that of any other build or configuration in this process.
    pub generation: u64,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// The longest time that an answer is used again.
    pub cache_max_ttl: Duration,
    /// What its answer is.
    pub kind: Kind,
    /// The longest answer that is composed.
    pub response_bytes: usize,
    /// Whether another target is composed of it.
    pub is_member: bool,
    /// What nova gets when there is no answer.
    pub on_failure: OnFailure,
    /// Where its answers come from.
    pub source: Source,
    /// What is counted of it.
    pub metrics: Arc<TargetMetrics>,
}

/// Where a target's answers come from.
pub enum Source {
    /// A plugin, or why there is none.
    Plugin(Result<Arc<Plugin>, Arc<loader::Error>>),
    /// Other targets of the same cloud.
    Composed(Vec<Member>),
}

/// Whether a target answers; the worse the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// It does.
    Serving,
    /// A plugin failed so often that it is not called for a while.
    Tripped,
    /// A plugin could not be loaded.
    Failed,
}

/// What nova has asked, before anything of it is read.
#[derive(Clone)]
pub struct Post {
    /// What nova sent.
    pub body: Bytes,
    /// What the log calls it.
    pub request_id: Arc<str>,
    /// The caller's, for the plugin and its upstreams.
    pub traceparent: Option<Arc<str>>,
    /// When the time for it is over.
    pub deadline: Instant,
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

    /// Answers one body for one target. Fills in the fields of the current span that only the body tells.
    ///
    /// # Errors
    ///
    /// Whatever keeps the target from answering before the deadline.
    pub async fn answer(
        self: &Arc<Self>,
        target: &Target,
        post: Post,
    ) -> Result<(Kept, CacheState), Error> {
        match &target.source {
            Source::Plugin(Ok(plugin)) => self.by_plugin(target, plugin, post).await,
            Source::Plugin(Err(_)) => Err(Error::NotLoaded),
            Source::Composed(members) => self.composed(target, members, post).await,
        }
    }

    /// By a run of the target's plugin, or by the answer to an equal request.
    async fn by_plugin(
        self: &Arc<Self>,
        target: &Target,
        plugin: &Arc<Plugin>,
        post: Post,
    ) -> Result<(Kept, CacheState), Error> {
        let request = Request::read(&post.body, plugin.sees_user_data())?;
        let question = target.question(&post.body);
        let digest = request.digest;
        let (plugin, shape) = (plugin.clone(), target.shape());
        let span = tell(&request);
        let run = async move {
            let (instance_id, project_id) =
                (request.instance_id.clone(), request.project_id.clone());
            let provided =
                plugin.provide(request, post.request_id, post.traceparent, post.deadline);
            let answer = shape
                .apply(provided.await?)
                .map_err(plugin::Error::Answer)?;
            let about = About {
                instance_id,
                project_id,
                secret: answer.secret,
            };
            Ok((answer, about))
        };
        let most = target.cache_max_ttl;
        self.shared::<plugin::Error>(question, digest, most, run, span, post.deadline)
            .await
    }

    /// The run's answer, or that of an equal one which is kept or under way.
    async fn shared<E>(
        self: &Arc<Self>,
        question: Question,
        digest: [u8; 32],
        most: Duration,
        run: impl Future<Output = Result<(Answer, About), E>> + Send + 'static,
        span: Span,
        deadline: Instant,
    ) -> Result<(Kept, CacheState), Error>
    where
        E: Send + Sync + 'static,
        Error: From<Arc<E>>,
    {
        let gateway = self.clone();
        let run = async move {
            // Boxed, because what waits for it hands it on several times, and it is large.
            let run = Box::pin(async move {
                let (answer, about) = run.await?;
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

/// Writes into the current span what only the body tells.
fn tell(request: &Request) -> Span {
    let span = Span::current();
    span.record("instance.id", &request.instance_id);
    span.record("project.id", &request.project_id);
    span
}

/// What becomes of a plugin's answer before it is kept.
struct Shape {
    /// For the message's file names, where the answer is one for cloud-init.
    message_of: Option<TargetName>,
    response_bytes: usize,
    is_member: bool,
}

impl Shape {
    fn apply(self, mut answer: Answer) -> Result<Answer, AnswerError> {
        if let Some(target) = self.message_of {
            let pieces = compose::pieces(&answer.body, &answer.parts)?;
            let share = compose::Share {
                place: 0,
                target,
                pieces,
            };
            // The parts are in it: a target that is composed of this one takes it apart again.
            answer.parts.clear();
            answer.body = compose::answer(&[share]);
            let (length, limit) = (answer.body.len(), self.response_bytes);
            if length > limit {
                return Err(AnswerError::TooLong { length, limit });
            }
        }
        if !self.is_member {
            answer.parts.clear();
        }
        Ok(answer)
    }
}

impl Cloud {
    /// Whether a target answers, as far as that is known before it is asked. A composed one does as well as the worst of
    /// those that it does not go without.
    pub fn readiness(&self, target: &Target) -> Readiness {
        match &target.source {
            Source::Plugin(Ok(plugin)) if plugin.is_paused() => Readiness::Tripped,
            Source::Plugin(Ok(_)) => Readiness::Serving,
            Source::Plugin(Err(_)) => Readiness::Failed,
            Source::Composed(members) => {
                let needed = members
                    .iter()
                    .filter(|member| member.on_failure == OnMemberFailure::Fail);
                let states = needed.map(|member| match self.targets.get(&member.target) {
                    Some(target) => self.readiness(target),
                    None => Readiness::Failed,
                });
                states.max().unwrap_or(Readiness::Serving)
            }
        }
    }
}

impl Target {
    fn shape(&self) -> Shape {
        Shape {
            message_of: (self.kind == Kind::CloudInit).then(|| self.name.clone()),
            response_bytes: self.response_bytes,
            is_member: self.is_member,
        }
    }

    fn question(&self, body: &Bytes) -> Question {
        Question {
            generation: self.generation,
            body: body.clone(),
        }
    }
}
