//! What plugins keep: whose it is, how much, how long, and that it is there after whatever happened to the gateway.

mod quotas;
mod survival;

use std::path::Path;
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Answer, Gateway, instance};
use crate::program::{Directory, PATIENCE};

/// A directory that outlives the gateways of a test.
struct Kept(TempDir);

impl Kept {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The names of the files in it, in order.
    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path()).expect("it is ours");
        let name = |file: std::io::Result<std::fs::DirEntry>| {
            let name = file.expect("a file").file_name();
            name.into_string().expect("UTF-8")
        };
        let mut names: Vec<_> = files.map(name).collect();
        names.sort();
        names
    }

    /// A configuration with its store in here.
    fn configuration(&self, more: &str) -> String {
        let path = self.path().join("state.redb");
        format!("auth.require = \"none\"\nstate.path = {path:?}\n{more}")
    }

    async fn start(&self, more: &str) -> Gateway {
        Gateway::start(&self.configuration(more)).await
    }
}

/// A target that is granted as much as anybody gets without asking for more.
const TARGET: &str = r#"targets.kept = { component = "state.wasm", state = {} }"#;

/// Has the plugin of a target take these steps, and returns what came of each.
async fn take(gateway: &Gateway, target: &str, steps: Value) -> Value {
    let body = instance(json!({"do": steps.to_string()}));
    let answer = gateway.ask(target, &body).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.at("/did")
}

/// Takes a step again and again, until this comes of it.
async fn take_until(gateway: &Gateway, step: Value, wanted: Value) {
    let taking = async {
        while take(gateway, "kept", json!([step])).await != json!([wanted]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taking)
        .await
        .unwrap_or_else(|_| panic!("{wanted} never comes of {step}"));
}

#[tokio::test]
async fn a_plugin_keeps_finds_changes_and_deletes_what_it_likes() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;

    let did = take(
        &gateway,
        "kept",
        json!([
            ["get", "a"],
            ["set", "a", "one"],
            ["get", "a"],
            ["compare-and-set", "a", 0, "zero"],
            ["compare-and-set", "a", 1, "two"],
            ["compare-and-set", "b", 7, "no"],
            ["compare-and-set", "b", 0, "yes"],
            ["increment", "count", 5],
            ["increment", "count", -7],
            ["get", "count"],
            ["increment", "a", 1],
            ["increment", "count", i64::MIN],
            ["list-keys", "", null, 10],
            ["list-keys", "", null, 2],
            ["list-keys", "", "b", 2],
            ["list-keys", "co", null, 2],
            ["list-keys", "", null, 0],
            ["delete", "a", 1],
            ["delete", "a", 2],
            ["delete", "a"],
            ["get", "a"],
        ]),
    )
    .await;

    let lines: Vec<_> = did
        .as_array()
        .expect("a list")
        .iter()
        .map(Value::to_string)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    null
    1
    ["one",1,null]
    {"error":"StateError::Conflict(1)"}
    2
    {"error":"StateError::Conflict(0)"}
    3
    5
    -2
    ["-2",5,null]
    {"error":"StateError::Unavailable(\"the key holds no counter\")"}
    {"error":"StateError::Unavailable(\"the sum does not fit into 64 bits\")"}
    [["a","b","count"],null]
    [["a","b"],"b"]
    [["count"],null]
    [["count"],null]
    [[],null]
    {"error":"StateError::Conflict(2)"}
    null
    null
    null
    "#);
}

#[tokio::test]
async fn a_key_is_a_short_text_without_control_characters() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    let invalid = json!({"error": "StateError::InvalidKey"});

    for key in ["", "a\nb", "a\u{0}", "\u{85}", &"x".repeat(513)] {
        let did = take(
            &gateway,
            "kept",
            json!([
                ["get", key],
                ["set", key, "v"],
                ["compare-and-set", key, 0, "v"],
                ["increment", key, 1],
                ["delete", key],
            ]),
        )
        .await;
        assert_eq!(
            did,
            json!([invalid, invalid, invalid, invalid, invalid]),
            "{key:?}"
        );
    }
    let longest = "ä".repeat(256);
    let did = take(
        &gateway,
        "kept",
        json!([["set", longest, "v"], ["get", longest]]),
    )
    .await;
    assert_eq!(did, json!([1, ["v", 1, null]]));
}

#[tokio::test]
async fn a_revision_is_never_used_twice_whatever_became_of_the_key() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;

    let first = take(
        &gateway,
        "kept",
        json!([["set", "a", "1"], ["delete", "a"]]),
    )
    .await;
    drop(gateway);
    let gateway = kept.start(TARGET).await;
    let second = take(&gateway, "kept", json!([["set", "a", "2", 1]])).await;
    take_until(&gateway, json!(["get", "a"]), Value::Null).await;
    let third = take(
        &gateway,
        "kept",
        json!([
            ["compare-and-set", "a", 2, "no"],
            ["compare-and-set", "a", 0, "3"],
            ["get", "a"]
        ]),
    )
    .await;

    assert_eq!(first, json!([1, null]));
    assert_eq!(second, json!([2]));
    assert_eq!(
        third,
        json!([{"error": "StateError::Conflict(0)"}, 3, ["3", 3, null]])
    );
}

#[tokio::test]
async fn what_expires_is_there_until_then_and_absent_after() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    let started = Instant::now();

    let before = take(
        &gateway,
        "kept",
        json!([
            ["set", "short", "v", 400],
            ["set", "long", "v", 3_600_000],
            ["increment", "count", 1, 400],
            ["increment", "count", 1, 3_600_000],
        ]),
    )
    .await;
    take_until(&gateway, json!(["get", "short"]), Value::Null).await;
    let took = started.elapsed();
    take_until(&gateway, json!(["get", "count"]), Value::Null).await;
    let after = take(
        &gateway,
        "kept",
        json!([
            ["list-keys", "", null, 10],
            ["increment", "count", 1],
            ["get", "long"]
        ]),
    )
    .await;

    assert_eq!(before, json!([1, 2, 1, 2]));
    assert!(took.as_millis() >= 400, "it was there for {took:?}");
    assert_eq!(after[0], json!([["long"], null]));
    assert_eq!(after[1], 1, "a counter that expired starts anew");
    let left_ms = after[2][2].as_u64().expect("it expires");
    assert!((1..=3_600_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn no_target_sees_or_changes_what_another_keeps_nor_the_same_target_in_another_cloud() {
    let kept = Kept::new();
    let made = Directory::new().run(&["token"]);
    let (token, hashed) = (made.stdout.trim().to_owned(), made.stderr);
    let gateway = kept
        .start(&format!(
            r#"
            [clouds.west.auth]
            require = "static-token"
            [clouds.west.auth.static_tokens]
            {hashed}
            [targets.one]
            component = "state.wasm"
            clouds = ["default", "west"]
            state = {{}}
            [targets.two]
            component = "state.wasm"
            state = {{}}
            "#
        ))
        .await;
    let everything = json!([["get", "a"], ["list-keys", "", null, 10], ["delete", "a"]]);
    let nothing = json!([null, [[], null], null]);
    let body = instance(json!({"do": everything.to_string()}));

    take(&gateway, "one", json!([["set", "a", "of one"]])).await;
    let two = take(&gateway, "two", everything).await;
    let west = gateway.ask_as(&token, "west/one", &body).await.at("/did");
    let one = take(&gateway, "one", json!([["get", "a"]])).await;

    assert_eq!([two, west], [nothing.clone(), nothing]);
    assert_eq!(one, json!([["of one", 1, null]]));
}

#[tokio::test]
async fn what_many_calls_add_at_once_by_compare_and_set_is_all_there() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    let adding: Vec<_> = (0..12)
        .map(|caller| {
            let steps = json!([["add", "number", 20], ["increment", "count", 20]]).to_string();
            let body = instance(json!({"do": steps, "caller": caller.to_string()}));
            let request = gateway.request(Method::POST, "/v1/kept").json(&body);
            tokio::spawn(Answer::to(request))
        })
        .collect();

    for added in adding {
        let answer = added.await.expect("the gateway answers");
        assert_eq!(answer.status, 200, "{answer}");
    }
    let did = take(
        &gateway,
        "kept",
        json!([["get", "number"], ["get", "count"]]),
    )
    .await;

    assert_eq!([&did[0][0], &did[1][0]], ["240", "240"]);
    assert_eq!(
        did[0][1].as_u64().max(did[1][1].as_u64()),
        Some(252),
        "no write was lost"
    );
}

#[tokio::test]
async fn the_metrics_tell_how_full_a_targets_state_is_and_what_became_of_its_operations() {
    let kept = Kept::new();
    let gateway = kept
        .start(&format!("admin.listen = \"127.0.0.1:0\"\n{TARGET}"))
        .await;

    take(
        &gateway,
        "kept",
        json!([
            ["set", "a", "12345"],
            ["set", "bc", "1"],
            ["compare-and-set", "a", 9, "v"],
            ["get", ""]
        ]),
    )
    .await;
    let metrics = gateway.ask_admin(Method::GET, "/metrics", "").await.body;

    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("vendordock_state_"));
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    vendordock_state_failures_total 0
    vendordock_state_keys{cloud="default",target="kept"} 2
    vendordock_state_operations_total{cloud="default",target="kept",outcome="conflict"} 1
    vendordock_state_operations_total{cloud="default",target="kept",outcome="denied"} 0
    vendordock_state_operations_total{cloud="default",target="kept",outcome="done"} 2
    vendordock_state_operations_total{cloud="default",target="kept",outcome="invalid_key"} 1
    vendordock_state_operations_total{cloud="default",target="kept",outcome="quota"} 0
    vendordock_state_operations_total{cloud="default",target="kept",outcome="unavailable"} 0
    vendordock_state_up 1
    vendordock_state_used_bytes{cloud="default",target="kept"} 9
    "#);
}

#[test]
fn check_tells_where_the_state_is_and_who_may_keep_how_much() {
    let kept = Kept::new();
    let configuration = kept.configuration(
        r#"
        targets.kept = { component = "state.wasm", state = { keys = 5 } }
        targets.echo = { component = "echo.wasm" }
        "#,
    );
    let directory = Directory::new().with("vendordock.toml", configuration);

    let finished = directory.run(&["check", "--config", "vendordock.toml"]);

    let directory = kept.path().display().to_string();
    let shown = finished.stdout.replace(&directory, "DIRECTORY");
    let shown: Vec<_> = shown
        .lines()
        .filter(|line| line.contains("state"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    state in DIRECTORY/state.redb, at most 268435456 bytes, sealed with DIRECTORY/state.key
    target kept: state 0.1.0 (Does to its state what it is told to, and reports what came of it)
      component state.wasm
      may keep 1048576 bytes of state, 5 keys, values of 65536 bytes, in each cloud
    "#);
    assert_eq!((finished.code, kept.names().len()), (Some(0), 0));
}
