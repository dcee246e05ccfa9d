//! An answer of several targets' parts, which are asked in parallel.
//!
//! Each member answers through its own cache, limits and grants, as it does when nova asks for it by name: what `join` has
//! issued is in both answers the same. The composed answer is kept as long as the shortest-lived of them, and not at
//! all when one was left out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Gateway, Post, Source, Target, tell};
use crate::cache::{About, Kept};
use crate::compose::{self, Piece, Share};
use crate::config::{Member, OnMemberFailure, TargetName};
use crate::error::{Error, chain};
use crate::plugin::Answer;
use crate::request::Request;
use crate::telemetry::metrics::CacheState;

/// What is left for composing after the last member had to answer, where the whole has time enough.
const RESERVE: Duration = Duration::from_millis(100);

/// Why there is no composed answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A member has none, and is not to be left out.
    #[error("target {target}, of which it is composed, has no answer")]
    Member {
        /// The member.
        target: TargetName,
        /// Why.
        source: Box<Error>,
    },
    /// A member has something for cloud-init that cloud-init would drop or stop at.
    #[error("what target {target}, of which it is composed, has for cloud-init is not handed on")]
    Part {
        /// The member.
        target: TargetName,
        /// What is wrong.
        source: compose::Fault,
    },
    /// All together are more than the target allows.
    #[error("it has {length} bytes, and the target's response_bytes allow {limit}")]
    TooLong {
        /// What it has.
        length: usize,
        /// What it may have.
        limit: usize,
    },
    /// The gateway is at its end.
    #[error("the task that asked target {target} is gone")]
    Lost {
        /// The member.
        target: TargetName,
    },
}

impl Gateway {
    pub(super) async fn composed(
        self: &Arc<Self>,
        target: &Target,
        members: &[Member],
        post: Post,
    ) -> Result<(Kept, CacheState), Error> {
        let Some(cloud) = self.clouds.get(&target.cloud) else {
            return Err(Error::NotLoaded);
        };
        let targets: Vec<(Member, Arc<Target>)> = members
            .iter()
            .filter_map(|member| Some((member.clone(), cloud.targets.get(&member.target)?.clone())))
            .collect();
        let any_sees_user_data = targets.iter().any(|(_, target)| target.sees_user_data());
        let request = Request::read(&post.body, any_sees_user_data)?;
        let (question, digest) = (target.question(&post.body), request.digest);
        let span = tell(&request);
        let left = post.deadline.saturating_duration_since(Instant::now());
        let deadline = post.deadline;
        let for_members = Post {
            deadline: deadline - RESERVE.min(left / 4),
            ..post
        };
        let (gateway, limit, metrics) =
            (self.clone(), target.response_bytes, target.metrics.clone());
        let run = async move {
            let gathered = gateway.gather(targets, for_members).await;
            let mut about = About {
                instance_id: request.instance_id,
                project_id: request.project_id,
                secret: false,
            };
            let mut ttl = Duration::MAX;
            let mut shares = Vec::new();
            for (place, (member, given)) in gathered.into_iter().enumerate() {
                match given {
                    Ok((kept, pieces)) => {
                        ttl = ttl.min(kept.left());
                        about.secret |= kept.about.secret && !pieces.is_empty();
                        let target = member.target;
                        shares.push(Share {
                            place,
                            target,
                            pieces,
                        });
                    }
                    Err(failure) if member.on_failure == OnMemberFailure::LeaveOut => {
                        metrics.left_out(member.target.as_str());
                        tracing::warn!(
                            member = %member.target,
                            "composed without it: {}",
                            chain(&failure)
                        );
                        ttl = Duration::ZERO;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            let body = compose::answer(&shares);
            if body.len() > limit {
                let length = body.len();
                return Err(Failure::TooLong { length, limit });
            }
            let answer = Answer {
                body,
                parts: Vec::new(),
                ttl,
                secret: about.secret,
            };
            Ok((answer, about))
        };
        let most = target.cache_max_ttl;
        self.shared::<Failure>(question, digest, most, run, span, deadline)
            .await
    }

    /// What each member has, in their order.
    async fn gather(
        self: &Arc<Self>,
        targets: Vec<(Member, Arc<Target>)>,
        post: Post,
    ) -> Vec<(Member, Result<(Kept, Vec<Piece>), Failure>)> {
        let mut asked = Vec::new();
        for (member, target) in targets {
            // A member's lines in the log are about the member; the request's id stands there by the span around.
            let span = tracing::info_span!("member", vendordata.target = %member.target);
            let deadline = post.deadline.min(Instant::now() + target.timeout);
            let (gateway, post) = (
                self.clone(),
                Post {
                    deadline,
                    ..post.clone()
                },
            );
            let asking = async move { gateway.member(&target, post).await };
            // In tasks of their own, so that guests that compute do so on several cores.
            asked.push((member, tokio::spawn(asking.instrument(span))));
        }
        let mut gathered = Vec::new();
        for (member, answer) in asked {
            let target = || member.target.clone();
            let given = match answer.await {
                Ok(Ok(kept)) => match compose::pieces(&kept.body, &kept.parts) {
                    Ok(pieces) => Ok((kept, pieces)),
                    Err(source) => Err(Failure::Part {
                        target: target(),
                        source,
                    }),
                },
                Ok(Err(error)) => Err(Failure::Member {
                    target: target(),
                    source: error.into(),
                }),
                Err(_panicked) => Err(Failure::Lost { target: target() }),
            };
            gathered.push((member, given));
        }
        gathered
    }

    /// As if nova had asked for it.
    async fn member(self: &Arc<Self>, target: &Target, post: Post) -> Result<Kept, Error> {
        if let Some(kept) = self.kept(target, &post.body) {
            target.metrics.looked_up(CacheState::Hit);
            return Ok(kept);
        }
        match &target.source {
            Source::Plugin(Ok(plugin)) => {
                let (kept, state) = self.by_plugin(target, plugin, post).await?;
                target.metrics.looked_up(state);
                Ok(kept)
            }
            // A composed target is composed of plugins' targets: the configuration says so.
            Source::Plugin(Err(_)) | Source::Composed(_) => Err(Error::NotLoaded),
        }
    }
}

impl Target {
    fn sees_user_data(&self) -> bool {
        matches!(&self.source, Source::Plugin(Ok(plugin)) if plugin.sees_user_data())
    }
}
