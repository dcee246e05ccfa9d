//! Answers that were given, and runs that are under way.
//!
//! nova asks six times for one config drive and on every read of the metadata service. Two look-ups answer a repeated
//! request: the body as it came leads to the request's digest, and the digest to the answer. nova writes equal requests
//! the same way nearly always, so that a hit parses nothing; where it does not, the digest still is the same, and only
//! the parsing is done again.
//!
//! Both keys begin with the number of the plugin's generation: what one build or configuration answered is never
//! taken for another's.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use crate::config;
use crate::plugin::{Answer, Error};

/// The SHA-256 of a body or of a request, each with the generation.
type Key = [u8; 32];

/// What an entry costs beside its body: keys, counters, queues.
const ENTRY_BYTES: usize = 256;

/// The answer cache of all targets.
pub struct Answers {
    /// A body that was read once, and the request it turned out to be.
    bodies: Cache<Key, Key>,
    answers: Cache<Key, Answer>,
}

/// A body of one generation, on its way through the cache.
#[derive(Clone, Copy)]
pub struct Question {
    generation: u64,
    body: Key,
}

impl Question {
    /// Names a body.
    pub fn new(generation: u64, body: &[u8]) -> Self {
        let body = key(generation, body);
        Self { generation, body }
    }
}

impl Answers {
    /// An empty cache within bounds.
    pub fn new(bounds: &config::Cache) -> Self {
        Self {
            // Sixteen bodies to an answer would be nova writing one request in sixteen ways.
            bodies: Cache::new(bounds.answers_bytes / ENTRY_BYTES as u64),
            answers: Cache::builder()
                .max_capacity(bounds.answers_bytes)
                .weigher(|_key, answer: &Answer| {
                    u32::try_from(answer.body.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
                })
                .expire_after(AsAnswered)
                .build(),
        }
    }

    /// The answer to a body that was seen before.
    pub async fn get(&self, question: &Question) -> Option<Answer> {
        let digest = self.bodies.get(&question.body).await?;
        self.answers.get(&digest).await
    }

    /// The answer to a request: a kept one, or that of the run under way, or that of `run`. A failure is told to all
    /// who wait, and not kept.
    ///
    /// # Errors
    ///
    /// Those of the run.
    pub async fn get_or_run(
        &self,
        question: Question,
        digest: &[u8; 32],
        run: impl Future<Output = Result<Answer, Error>>,
    ) -> Result<Answer, Arc<Error>> {
        let key = key(question.generation, digest);
        let answer = self.answers.try_get_with(key, run).await?;
        if answer.ttl > Duration::ZERO {
            self.bodies.insert(question.body, key).await;
        }
        Ok(answer)
    }
}

fn key(generation: u64, bytes: &[u8]) -> Key {
    let mut hash = Sha256::new();
    hash.update(generation.to_le_bytes());
    hash.update(bytes);
    hash.finalize().into()
}

/// Each answer says how long it is good.
struct AsAnswered;

impl Expiry<Key, Answer> for AsAnswered {
    fn expire_after_create(&self, _key: &Key, answer: &Answer, _now: Instant) -> Option<Duration> {
        Some(answer.ttl)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn answers() -> Answers {
        Answers::new(&config::Cache::default())
    }

    fn answer(ttl_ms: u64) -> Answer {
        Answer {
            body: "{}".into(),
            ttl: Duration::from_millis(ttl_ms),
        }
    }

    #[tokio::test]
    async fn a_body_seen_before_is_answered_for_its_own_generation_only() {
        let answers = answers();
        let (first, second) = (Question::new(1, b"body"), Question::new(2, b"body"));
        answers
            .get_or_run(first, &[7; 32], async { Ok(answer(60_000)) })
            .await
            .expect("an answer");

        assert!(answers.get(&first).await.is_some());
        assert!(answers.get(&second).await.is_none());
        assert!(answers.get(&Question::new(1, b"Body")).await.is_none());
    }

    #[tokio::test]
    async fn an_answer_without_time_to_live_is_shared_by_those_who_wait_and_not_kept() {
        let (answers, runs) = (answers(), AtomicU32::new(0));
        let question = Question::new(1, b"body");
        let ask = || {
            answers.get_or_run(question, &[7; 32], async {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(answer(0))
            })
        };

        let (first, second) = tokio::join!(ask(), ask());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(runs.load(Ordering::Relaxed), 1);

        ask().await.expect("an answer");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_kept() {
        let answers = answers();
        let question = Question::new(1, b"body");

        let failed = answers
            .get_or_run(question, &[7; 32], async { Err(Error::Lost) })
            .await;
        assert!(failed.is_err());
        let answered = answers
            .get_or_run(question, &[7; 32], async { Ok(answer(1_000)) })
            .await;
        assert!(answered.is_ok());
    }
}
