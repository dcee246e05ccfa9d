//! From a body to an answer: the target, its cache, its plugin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::auth::Auth;
use crate::cache::{Answers, Question};
use crate::config::TargetName;
use crate::error::Error;
use crate::loader;
use crate::plugin::{Answer, Plugin};
use crate::request::Request;
use crate::unabandoned::Unabandoned;

/// A run ends itself at its deadline, and says whose fault that is. Whoever waits for it lets it speak.
const GRACE: Duration = Duration::from_millis(50);

/// All that serving a request needs. Built once, before the port opens.
pub struct Gateway {
    /// How callers prove who they are.
    pub auth: Auth,
    /// The targets by name.
    pub targets: HashMap<TargetName, Arc<Target>>,
    /// What was answered.
    pub answers: Answers,
    /// The longest request body.
    pub body_limit_bytes: usize,
}

/// One target as it serves.
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Unlike that of any other build or configuration in this process.
    pub generation: u64,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// The longest time that an answer is used again.
    pub cache_max_ttl: Duration,
    /// The plugin, or why there is none.
    pub plugin: Result<Arc<Plugin>, loader::Error>,
}

impl Gateway {
    /// A target by the name in the URL.
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.get(name)
    }

    /// The answer that is kept for a body. On this path nothing is parsed and nothing copied.
    pub async fn kept(&self, target: &Target, body: &Bytes) -> Option<Bytes> {
        self.answers.get(&target.question(body)).await
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
        deadline: Instant,
    ) -> Result<Bytes, Error> {
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
                let answer = plugin.provide(request, request_id, deadline).await?;
                let ttl = answer.ttl.min(most);
                Ok(Answer { ttl, ..answer })
            });
            gateway.answers.get_or_run(question, digest, run).await
        };
        // A caller who hangs up does not end the run for the others who wait for it: a second run would issue a second
        // password.
        let running = Unabandoned::new(run.instrument(span));
        match tokio::time::timeout_at(deadline + GRACE, running).await {
            Ok(answer) => Ok(answer?),
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
