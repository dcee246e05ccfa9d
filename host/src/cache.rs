//! Answers that were given, and runs that are under way.
//!
//! nova asks six times for one config drive and on every read of the metadata service, and writes equal requests the same
//! way nearly always. So there are two tables. The first goes from a body, byte for byte, to its answer: a hit parses
//! nothing. The second goes from a request's digest to the answer, or to the run that will give it: it is asked when the
//! body is new, and finds that the request is not.
//!
//! Both keys begin with the number of the plugin's generation, of which each cloud's target has its own: what one build
//! or configuration answered, or answered in one cloud, is never taken for another's.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;

use crate::config;
use crate::plugin::{Answer, Part};
use crate::telemetry::metrics::CacheState;

/// What an entry costs beside its body: keys, counters, queues.
const ENTRY_BYTES: usize = 256;

/// The answer cache of all targets.
pub struct Answers {
    /// Compared whole, not by a digest: a kilobyte is compared faster than it is hashed well, and no two bodies can be
    /// taken for one.
    by_body: moka::sync::Cache<Question, Kept, foldhash::quality::RandomState>,
    by_digest: Cache<(u64, [u8; 32]), Kept>,
}

/// A body for one generation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The generation of the plugin that would answer.
    pub generation: u64,
    /// What nova sent.
    pub body: Bytes,
}

/// An answer, and for whom it is.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What nova gets.
    pub body: Bytes,
    /// What targets are composed of that are composed of this one.
    pub parts: Arc<[Part]>,
    /// What the log says of it: a hit reads no request.
    pub about: Arc<About>,
    until: Instant,
}

/// Whose answer it is.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// The instance, by nova's id.
    pub instance_id: String,
    /// Its project.
    pub project_id: String,
    /// Whether nobody else may know what it holds.
    pub secret: bool,
}

/// What ends a run without an entry. moka hands such an end to all who wait, and keeps nothing.
enum Unkept<E> {
    /// An answer for those who wait, and for nobody else.
    Answered(Kept),
    Failed(Arc<E>),
}

impl Kept {
    /// How long it is still good.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Answers {
    /// An empty cache within bounds.
    pub fn new(bounds: &config::Cache) -> Self {
        // An answer may stand in both, and its request's body stands in the first.
        let half = bounds.answers_bytes / 2;
        Self {
            by_body: moka::sync::Cache::builder()
                .max_capacity(half)
                .weigher(|question: &Question, kept: &Kept| weight(&question.body, kept))
                .expire_after(AtItsEnd)
                .build_with_hasher(foldhash::quality::RandomState::default()),
            by_digest: Cache::builder()
                .max_capacity(half)
                .weigher(|_key, kept| weight(&[], kept))
                .expire_after(AtItsEnd)
                .build(),
        }
    }

    /// The answer to a body that was seen before.
    pub fn get(&self, question: &Question) -> Option<Kept> {
        self.by_body.get(question)
    }

    /// The answer to a request, and whether it is a kept one, or that of the run under way, or that of `run`. A failure
    /// is told to all who wait, and not kept.
    ///
    /// # Errors
    ///
    /// Those of the run.
    pub async fn get_or_run<E: Send + Sync + 'static>(
        &self,
        question: Question,
        digest: [u8; 32],
        run: impl Future<Output = Result<(Answer, About), E>>,
    ) -> Result<(Kept, CacheState), Arc<E>> {
        let key = (question.generation, digest);
        let ran = AtomicBool::new(false);
        let run = async {
            ran.store(true, Ordering::Relaxed);
            let (answer, about) = match run.await {
                Ok(answered) => answered,
                Err(error) => return Err(Unkept::Failed(error.into())),
            };
            let kept = Kept {
                body: answer.body,
                parts: answer.parts.into(),
                about: about.into(),
                until: Instant::now() + answer.ttl,
            };
            if answer.ttl.is_zero() {
                Err(Unkept::Answered(kept))
            } else {
                Ok(kept)
            }
        };
        let (kept, state) = match self.by_digest.get(&key).await {
            Some(kept) => (kept, CacheState::Hit),
            None => {
                let kept = self.by_digest.try_get_with(key, run).await;
                let state = if ran.into_inner() {
                    CacheState::Miss
                } else {
                    CacheState::Coalesced
                };
                match kept.as_ref().map_err(|unkept| &**unkept) {
                    Ok(kept) => (kept.clone(), state),
                    Err(Unkept::Answered(kept)) => return Ok((kept.clone(), state)),
                    Err(Unkept::Failed(error)) => return Err(error.clone()),
                }
            }
        };
        let answer = kept.clone();
        let question = Question {
            // What was read is a piece of a larger buffer, which would be kept whole.
            body: Bytes::copy_from_slice(&question.body),
            ..question
        };
        self.by_body.insert(question, kept);
        Ok((answer, state))
    }
}

fn weight(body: &[u8], kept: &Kept) -> u32 {
    let parts = kept.parts.iter();
    let parts: usize = parts.map(|part| part.name.len() + part.content.len()).sum();
    let bytes = body.len() + kept.body.len() + parts + ENTRY_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Each answer says how long it is good.
struct AtItsEnd;

impl<K> Expiry<K, Kept> for AtItsEnd {
    fn expire_after_create(&self, _key: &K, kept: &Kept, now: Instant) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _key: &K,
        kept: &Kept,
        now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::plugin::Error;

    const DIGEST: [u8; 32] = [7; 32];

    fn answers() -> Answers {
        Answers::new(&config::Cache::default())
    }

    fn question(generation: u64, body: &'static str) -> Question {
        let body = body.into();
        Question { generation, body }
    }

    fn answer(ttl_ms: u64) -> Answer {
        Answer {
            body: "{}".into(),
            parts: Vec::new(),
            ttl: Duration::from_millis(ttl_ms),
            secret: false,
        }
    }

    fn answered(ttl_ms: u64) -> Result<(Answer, About), Error> {
        let about = About {
            instance_id: "i1".to_owned(),
            project_id: "p1".to_owned(),
            secret: false,
        };
        Ok((answer(ttl_ms), about))
    }

    #[tokio::test]
    async fn a_body_seen_before_is_answered_for_its_own_generation_only() {
        let answers = answers();
        let run = async { answered(60_000) };
        answers
            .get_or_run(question(1, "body"), DIGEST, run)
            .await
            .expect("an answer");

        assert!(answers.get(&question(1, "body")).is_some());
        assert!(answers.get(&question(2, "body")).is_none());
        assert!(answers.get(&question(1, "Body")).is_none());
    }

    #[tokio::test]
    async fn a_request_written_in_another_way_finds_the_same_answer() {
        let answers = answers();
        let run = async { answered(60_000) };
        answers
            .get_or_run(question(1, "body"), DIGEST, run)
            .await
            .expect("an answer");

        let no_run = async { Err(Error::Busy) };
        let again = answers
            .get_or_run(question(1, " body"), DIGEST, no_run)
            .await;
        let (kept, state) = again.expect("the kept one");
        assert_eq!((&*kept.body, state), (&b"{}"[..], CacheState::Hit));
        assert!(answers.get(&question(1, " body")).is_some());
    }

    #[tokio::test]
    async fn an_answer_without_time_to_live_is_shared_by_those_who_wait_and_not_kept() {
        let (answers, runs) = (answers(), AtomicU32::new(0));
        let ask = || {
            answers.get_or_run(question(1, "body"), DIGEST, async {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                answered(0)
            })
        };

        let (first, second) = tokio::join!(ask(), ask());
        let states = [first, second].map(|answered| answered.expect("an answer").1);
        assert_eq!(states, [CacheState::Miss, CacheState::Coalesced]);
        assert_eq!(runs.load(Ordering::Relaxed), 1);

        ask().await.expect("an answer");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        assert!(answers.get(&question(1, "body")).is_none());
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_kept() {
        let answers = answers();

        let failed = answers
            .get_or_run(question(1, "b"), DIGEST, async { Err(Error::Busy) })
            .await;
        assert!(failed.is_err());
        let answered = answers
            .get_or_run(question(1, "b"), DIGEST, async { answered(1_000) })
            .await;
        assert!(answered.is_ok());
    }
}
