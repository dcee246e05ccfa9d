//! Keystone comes and goes while nova keeps asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vendordock_stand_ins::Keystone;

use crate::callers::{gateway, keystone, nova};
use crate::gateway::{Gateway, instance};
use crate::program::PATIENCE;

/// How often the answers to one kind of token had a status other than expected, and how many there were.
struct Load {
    stop: AtomicBool,
    answers: watch::Sender<usize>,
}

impl Load {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: AtomicBool::new(false),
            answers: watch::Sender::new(0),
        })
    }

    /// Waits for so many more answers.
    async fn more(&self, count: usize) {
        let mut answers = self.answers.subscribe();
        let enough = *answers.borrow() + count;
        let waiting = answers.wait_for(|answers| *answers >= enough);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("answers keep coming")
            .expect("we hold the sender");
    }
}

/// Asks with tokens of `next` until told to stop: the statuses that were not among `expected`.
async fn ask(
    gateway: Arc<Gateway>,
    load: Arc<Load>,
    next: impl Fn() -> String,
    expected: &[u16],
) -> Vec<u16> {
    let body = instance(json!({}));
    let mut unexpected = Vec::new();
    while !load.stop.load(Ordering::Relaxed) {
        let status = gateway.ask_as(&next(), "echo", &body).await.status;
        if !expected.contains(&status) {
            unexpected.push(status);
        }
        load.answers.send_modify(|answers| *answers += 1);
    }
    unexpected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_keystone_does_known_tokens_pass_and_new_ones_do_once_it_is_back() {
    let keystone = Arc::new(keystone().await);
    // Known tokens are asked about again all the time.
    let more = "token_cache_ms = 20\ntimeout_ms = 1500";
    let gateway = Arc::new(gateway(&keystone, more).await);
    let known = nova(&keystone);
    let body = instance(json!({}));
    assert_eq!(gateway.ask_as(&known, "echo", &body).await.status, 200);
    let (of_known, of_new) = (Load::new(), Load::new());
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let known = known.clone();
        let next = move || known.clone();
        asking.spawn(ask(gateway.clone(), of_known.clone(), next, &[200]));
        let keystone = keystone.clone();
        let next = move || nova(&keystone);
        asking.spawn(ask(gateway.clone(), of_new.clone(), next, &[200, 503, 504]));
    }

    for trouble in ["none", "stopped", "slow", "500", "hung", "lost answers"] {
        inflict(&keystone, trouble).await;
        of_known.more(12).await;
        of_new.more(4).await;

        keystone.restart().await;
        keystone.faults().clear();
        // Back again, without a restart of the gateway.
        let recovered =
            async { while gateway.ask_as(&nova(&keystone), "echo", &body).await.status != 200 {} };
        tokio::time::timeout(PATIENCE, recovered)
            .await
            .unwrap_or_else(|_| panic!("not recovered from: {trouble}"));
    }

    of_known.stop.store(true, Ordering::Relaxed);
    of_new.stop.store(true, Ordering::Relaxed);
    let unexpected: Vec<u16> = asking.join_all().await.concat();
    assert_eq!(unexpected, [] as [u16; 0]);
}

async fn inflict(keystone: &Keystone, trouble: &str) {
    match trouble {
        "stopped" => keystone.stop().await,
        "slow" => keystone.faults().delay(Duration::from_millis(400)),
        "500" => keystone.faults().respond_with(500),
        "hung" => keystone.faults().hang(),
        "lost answers" => keystone.faults().lose_answers(50),
        _ => {}
    }
}
