//! Plugins that mean harm. For each: what nova is told and what the log says, the gateway alive, its memory back to where it
//! was, and a neighbour that is asked all the while and hardly notices.
//!
//! `rows` has them all, one entry each; their texts are in `tests/plugins/hostile/`.

mod bad_upstream;
mod memory;
mod neighbour;
mod rows;
mod slow_to_compile;

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::memory::resident_bytes;
use self::neighbour::Neighbour;
use self::rows::{NOT_LOADED, Row, rows};
use crate::gateway::{Answer, Gateway, instance};
use crate::program::{Directory, PATIENCE};

/// How often each attacker asks a plugin that is done at once: what is measured is the plugin, not how many requests the gateway
/// takes.
const PACE: Duration = Duration::from_millis(10);

/// Measurements of a row. A machine that has other things to do can spoil one; a gateway that is held up spoils each.
const TRIES: usize = 5;

/// Requests of the neighbour that a measurement consists of.
const SAMPLES: usize = 200;

/// What the slots of the pool keep between calls: each a mebibyte of memory, and less of stack and tables. The rest is the
/// allocator's. A row that leaves one call's memory behind, which is 64 MiB, is found.
const KEPT_BYTES: u64 = 48 << 20;

/// Held by whoever measures: two that do so beside each other would measure each other.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// Files for the rows that are no plugins, and the secret of one that is.
fn directory() -> Directory {
    let echo = std::fs::read(Directory::new().path("echo.wasm")).expect("it is built");
    let precompiled = wasmtime::Engine::default().precompile_component(&echo);
    Directory::new()
        .with("precompiled.wasm", precompiled.expect("it compiles"))
        .with("truncated.wasm", &echo[..echo.len() / 2])
        .with("too-large.wasm", vec![0; 5 << 20])
        .with("key", "Secret of the target\n")
}

/// One gateway with the targets of all rows.
async fn gateway(directory: Directory, upstream: &str, rows: &[Row]) -> Gateway {
    let mut configuration = r#"
        server.workers = 2
        engine.concurrent_calls = 16
        engine.component_bytes = 4194304
        auth.require = "none"
        admin.listen = "127.0.0.1:0"
        state.path = "state.redb"
        targets.echo = { component = "echo.wasm" }
        targets.another = { component = "state.wasm", state = {} }
        "#
    .to_owned();
    let mut written = HashSet::new();
    for row in rows {
        let Row {
            target,
            plugin,
            grants,
            ..
        } = row;
        if written.insert(target) {
            // Whoever is not called does no harm.
            let table = format!(
                "[targets.{target}]\ncomponent = \"{plugin}\"\nbreaker = false\n{grants}\n"
            );
            configuration.push_str(&table);
        }
    }
    let configuration = configuration.replace(rows::UPSTREAM, upstream);
    let variable = ("SECRET_OF_THE_GATEWAY", "in its environment");
    Gateway::serve_by(directory, &configuration, |directory, arguments| {
        directory.spawn_with(&[variable], arguments)
    })
    .await
}

impl Row {
    /// Asks until the neighbour has been measured. Returns all answers.
    async fn attack(
        &self,
        gateway: &Gateway,
        upstream: &str,
        neighbour: &Neighbour,
    ) -> Vec<Answer> {
        let mut attackers = JoinSet::new();
        for number in 0..self.at_once {
            // Equal requests would share one run.
            let mut metadata = self.metadata.clone();
            metadata["attacker"] = json!(number.to_string());
            let body = instance(metadata).to_string();
            let request = gateway
                .request(Method::POST, &format!("/v1/{}", self.target))
                .body(body.replace(rows::UPSTREAM, upstream));
            let done = neighbour.done();
            attackers.spawn(async move {
                let mut answers = Vec::new();
                let mut pace = tokio::time::interval(PACE);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while answers.is_empty() || !done() {
                    pace.tick().await;
                    let again = request.try_clone().expect("its body is there");
                    answers.push(Answer::to(again).await);
                }
                answers
            });
        }
        attackers.join_all().await.into_iter().flatten().collect()
    }

    /// What the log's line has that says what became of it.
    fn logged(&self, answer: &Answer) -> [String; 2] {
        let which = match self.answer {
            NOT_LOADED => format!("vendordata.target={} ", self.target),
            _ => answer.request_id().to_owned(),
        };
        [which, self.log.to_owned()]
    }
}

#[tokio::test]
async fn each_hostile_plugin_gets_its_answer_and_costs_nobody_else_anything() {
    let _alone = MEASURING.lock().await;
    let rows = rows();
    let upstream = bad_upstream::start();
    let gateway = gateway(directory(), &upstream, &rows).await;
    let secret = instance(json!({"do": r#"[["set", "secret", "of another target"]]"#}));
    assert_eq!(gateway.ask("another", &secret).await.status, 200);
    // What an allocator once needed, it keeps in part; the longest answers of upstreams take most.
    let longest = rows.iter().find(|row| row.name == "gibibyte-upstream");
    let neighbour = Neighbour::start(&gateway, SAMPLES);
    let longest = longest.expect("it is there");
    longest.attack(&gateway, &upstream, &neighbour).await;
    neighbour.measured().await;
    let before = resident_bytes(&gateway);
    let (mut broken, mut logged) = (Vec::new(), Vec::new());

    for row in &rows {
        let mut slow = Vec::new();
        while slow.len() < TRIES {
            let alone = Neighbour::alone(&gateway).await;
            let neighbour = Neighbour::start(&gateway, SAMPLES);
            let answers = row.attack(&gateway, &upstream, &neighbour).await;
            let attacked = neighbour.measured().await;
            if let Some(wrong) = answers
                .iter()
                .find(|answer| answer.to_string() != row.answer)
            {
                broken.push(format!("{}: {wrong}", row.name));
            }
            logged.push((row, row.logged(&answers[0])));
            if attacked <= neighbour::bound(alone) {
                break;
            }
            // The machine may have become busier.
            let alone = alone.max(Neighbour::alone(&gateway).await);
            if attacked <= neighbour::bound(alone) {
                break;
            }
            slow.push((alone, attacked));
        }
        if slow.len() == TRIES {
            broken.push(format!("{}: p99 alone and attacked {slow:?}", row.name));
        }
        assert_eq!(gateway.get("/healthz").await.status, 200);
        if let Err(resident) = memory::falls_to(&gateway, before + KEPT_BYTES).await {
            broken.push(format!("{}: {before} bytes became {resident}", row.name));
        }
    }

    let log = gateway.written().await;
    for (row, parts) in logged {
        if !log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
        {
            broken.push(format!("{}: no line of the log has {parts:?}", row.name));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(!log.contains("Secret in a panic"), "{log}");
}

#[tokio::test]
async fn a_plugin_that_takes_long_to_compile_is_given_up_and_the_others_serve() {
    let directory = Directory::new().with("slow.wasm", slow_to_compile::component());
    let gateway = Gateway::serve(
        directory,
        r#"
        engine.compile_timeout_ms = 2000
        auth.require = "none"
        targets.files = { component = "hostile/files.wasm" }
        targets.slow = { component = "slow.wasm" }
        "#,
    )
    .await;

    insta::assert_snapshot!(gateway.get("/readyz").await, @r#"200 {"status":"degraded","targets":{"files":"serving","slow":"failed"}}"#);
    let reason = "component slow.wasm takes longer than 2000 ms to compile (compile_timeout_ms)";
    gateway.log_line(&["not serving this target", reason]).await;
    assert_eq!(
        gateway.ask("slow", &instance(json!({}))).await.to_string(),
        NOT_LOADED
    );
    assert_eq!(gateway.ask("files", &instance(json!({}))).await.status, 200);
    assert_eq!(memory::children(&gateway), "", "its compiler is gone");
}

#[tokio::test]
async fn a_thousand_calls_that_never_end_hold_up_nobody_else() {
    let _alone = MEASURING.lock().await;
    // Each has a connection, here and there.
    let files = Rlimit {
        current: Some(4096),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, files).expect("it may be that many");
    let rows = [Row {
        grants: "timeout_ms = 8000\nconcurrent_calls = 15\nwaiting_calls = 1000",
        ..rows::endless_loop()
    }];
    let gateway = gateway(Directory::new(), "", &rows).await;
    let before = resident_bytes(&gateway);
    let alone = Neighbour::alone(&gateway).await;

    let mut asking = JoinSet::new();
    for number in 0..1000 {
        let metadata = json!({"attacker": number.to_string()});
        let request = gateway.request(Method::POST, "/v1/endless-loop");
        asking.spawn(Answer::to(request.json(&instance(metadata))));
    }
    waiting(&gateway, 985).await;
    let mut attacked = Vec::new();
    while attacked.len() < 3
        && attacked
            .last()
            .is_none_or(|p99| *p99 > neighbour::bound(alone))
    {
        attacked.push(Neighbour::start(&gateway, SAMPLES).measured().await);
    }
    let answers = asking.join_all().await;

    assert!(
        attacked
            .last()
            .is_some_and(|p99| *p99 <= neighbour::bound(alone)),
        "p99 {alone:?} became {attacked:?}"
    );
    // Those that ran, and those that waited for them until the end.
    let told = |answer: &Answer| [503, 504].contains(&answer.status);
    assert!(answers.iter().all(told));
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let after = memory::falls_to(&gateway, before + KEPT_BYTES).await;
    assert_eq!(after, Ok(()), "it was {before}");
}

/// Waits until so many calls wait for their turn.
async fn waiting(gateway: &Gateway, calls: u32) {
    let line =
        format!(r#"vendordock_calls_waiting{{cloud="default",target="endless-loop"}} {calls}"#);
    let asking = async {
        loop {
            let metrics = gateway.ask_admin(Method::GET, "/metrics", "").await;
            if metrics.body.lines().any(|found| found == line) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("they all arrive");
}
