//! How much a target may keep, and that the configuration says so.

use serde_json::{Value, json};

use super::{Kept, TARGET, take, take_until};
use crate::program::Directory;

#[tokio::test]
async fn a_target_keeps_no_more_than_its_quota_and_expired_keys_do_not_count() {
    let kept = Kept::new();
    let target = r#"
        [targets.kept]
        component = "state.wasm"
        state = { bytes = 100, keys = 3, value_bytes = 60 }
    "#;
    let gateway = kept.start(target).await;
    let full = json!({"error": "StateError::QuotaExceeded"});

    let values = take(
        &gateway,
        "kept",
        json!([
            ["set-long", "a", 61],
            ["set-long", "a", 60],
            ["set-long", "b", 39],
            ["set-long", "b", 38],
            ["set-long", "a", 60],
            ["set-long", "a", 59],
            ["increment", "c"],
            ["set-long", "a", 10],
            ["increment", "c"],
            ["set", "d", ""],
            ["delete", "b"],
        ]),
    )
    .await;
    drop(gateway);
    let gateway = kept.start(target).await;
    let restarted = take(
        &gateway,
        "kept",
        json!([
            ["set", "d", "", 1000],
            ["set", "e", ""],
            ["set-long", "a", 60]
        ]),
    )
    .await;
    take_until(&gateway, json!(["set", "e", ""]), json!(9)).await;

    assert_eq!(
        values,
        json!([full, 1, full, 2, 3, 4, full, 5, 1, full, null])
    );
    assert_eq!(restarted, json!([7, full, 8]));
}

#[tokio::test]
async fn a_quota_that_was_lowered_lets_values_shrink_and_keeps_what_is_there() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    take(
        &gateway,
        "kept",
        json!([["set-long", "a", 500], ["set-long", "b", 500]]),
    )
    .await;
    drop(gateway);
    let lower = r#"targets.kept = { component = "state.wasm", state = { bytes = 600, keys = 1, value_bytes = 600 } }"#;
    let gateway = kept.start(lower).await;
    let full = json!({"error": "StateError::QuotaExceeded"});

    let did = take(
        &gateway,
        "kept",
        json!([
            ["set-long", "a", 501],
            ["set-long", "a", 400],
            ["set", "c", ""],
            ["list-keys", "", null, 10],
        ]),
    )
    .await;

    assert_eq!(did, json!([full, 3, full, [["a", "b"], null]]));
}

#[tokio::test]
async fn without_a_grant_there_is_no_state_and_no_file() {
    let kept = Kept::new();
    let gateway = kept
        .start(r#"targets.kept = { component = "state.wasm" }"#)
        .await;
    let denied = json!({"error": "StateError::NotGranted"});

    let did = take(
        &gateway,
        "kept",
        json!([
            ["get", "a"],
            ["set", "a", "v"],
            ["increment", "a"],
            ["delete", "a"],
            ["list-keys", ""]
        ]),
    )
    .await;

    assert_eq!(did, json!([denied, denied, denied, denied, denied]));
    assert_eq!(kept.names(), [""; 0]);
    gateway
        .log_line(&["state.get", "`state = {}` in [targets.kept] grants it"])
        .await;
}

#[tokio::test]
async fn a_call_has_a_thousand_operations_and_cannot_fill_the_log_with_more() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    let steps: Vec<_> = (0..1_100).map(|_| json!(["get", "a"])).collect();

    let did = take(&gateway, "kept", json!(steps)).await;
    let log = gateway.written().await;

    let over =
        json!({"error": "StateError::Unavailable(\"a call has 1000 operations on its state\")"});
    assert_eq!(
        [&did[999], &did[1000], &did[1099]],
        [&Value::Null, &over, &over]
    );
    assert_eq!(log.matches("1000 operations").count(), 10);
}

#[test]
fn a_grant_that_makes_no_sense_is_told_with_its_line() {
    let text = r#"auth.require = "none"
[state]
bytes = 1000
key_file = []
[targets.a]
component = "state.wasm"
state = { bytes = 100, value_bytes = 101 }
[targets.b]
component = "state.wasm"
state = { bytes = 10000000, value_bytes = 2000000 }
[targets.c]
component = "state.wasm"
state = { keys = 0 }
[targets.d]
component = "state.wasm"
state = { size = 1 }
"#;
    let directory = Directory::new().with("vendordock.toml", text);

    let first = directory.run(&["check", "--config", "vendordock.toml"]);
    let types: String = text.replace("keys = 0", "keys = 1").replace("size = 1", "");
    let directory = directory.with("vendordock.toml", types);
    let second = directory.run(&["check", "--config", "vendordock.toml"]);

    insta::assert_snapshot!(first.stderr + &second.stderr, @r#"
    vendordock.toml:13: targets.c.state.keys: invalid value: integer `0`, expected a nonzero u64
    vendordock.toml:16: targets.d.state.size: unknown key `size`; known here: bytes, keys, value_bytes
    vendordock.toml:4: state.key_file: an empty list has no key to seal with; leave `key_file` out, and one is made beside the store
    vendordock.toml:7: targets.a.state.value_bytes: 101 is more than the 100 `bytes` that all values may have
    vendordock.toml:10: targets.b.state.value_bytes: at most 1048576
    "#);
}
