//! The store's file through restarts, kills, damage and changes of key.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Kept, TARGET, take, take_until};
use crate::gateway::{Gateway, instance};
use crate::program::{Directory, Finished};

impl Kept {
    fn file(&self) -> PathBuf {
        self.path().join("state.redb")
    }

    /// Starts a gateway that should not serve, and returns what it says. The paths in it lose their directory.
    fn refused(&self, more: &str) -> (Option<i32>, String) {
        let directory = Directory::new().with("vendordock.toml", self.configuration(more));
        let Finished { code, stderr, .. } =
            directory.run(&["serve", "--config", "vendordock.toml"]);
        let told = stderr.replace(&format!("{}/", self.path().display()), "");
        (code, told)
    }
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    take(
        &gateway,
        "kept",
        json!([
            ["set", "a", "v"],
            ["set", "b", "w", 3_600_000],
            ["increment", "c"]
        ]),
    )
    .await;

    let log = gateway.written().await;
    let gateway = kept.start(TARGET).await;
    let did = take(
        &gateway,
        "kept",
        json!([["get", "a"], ["list-keys", ""], ["increment", "c"]]),
    )
    .await;

    assert!(!log.contains("still under way"), "{log}");
    assert_eq!(did, json!([["v", 1, null], [["a", "b", "c"], null], 2]));
    let mode = |name: &str| {
        fs::metadata(kept.path().join(name))
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(kept.names(), ["state.key", "state.redb", "state.redb.lock"]);
    assert_eq!(
        ["state.key", "state.redb", "state.redb.lock"].map(mode),
        [0o600; 3]
    );
}

#[tokio::test]
async fn whatever_was_acknowledged_is_there_after_a_kill_at_any_moment() {
    let kept = Kept::new();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();

    for round in 0..6_usize {
        let gateway = kept.start(TARGET).await;
        for (key, number) in &acknowledged {
            let did = take(&gateway, "kept", json!([["get", key]])).await;
            let now: u64 = did[0][0]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("it is there");
            // One more than was acknowledged may have been on its way.
            assert!(
                (*number..=*number + 1).contains(&now),
                "{key}: {now}, and {number} was acknowledged"
            );
        }
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let writers = (0..4).map(|writer| {
            let key = format!("writer {writer}");
            let next = acknowledged.get(&key).map_or(1, |number| number + 2);
            writing(&gateway, key, next, sender.clone())
        });
        let writers: Vec<_> = writers.collect();
        // Killed after more writes each time, at whatever moment that is.
        for _ in 0..10 + round * 7 {
            let (key, number) = receiver.recv().await.expect("they write");
            acknowledged.insert(key, number);
        }
        drop(gateway);
        for writer in writers {
            writer.await.expect("it ends with the gateway");
        }
        while let Ok((key, number)) = receiver.try_recv() {
            acknowledged.insert(key, number);
        }
    }
    assert_eq!(acknowledged.len(), 4);
}

/// Writes ever greater numbers, and tells of each that was acknowledged, until the gateway is gone.
fn writing(
    gateway: &Gateway,
    key: String,
    first: u64,
    acknowledged: tokio::sync::mpsc::UnboundedSender<(String, u64)>,
) -> tokio::task::JoinHandle<()> {
    let url = format!("http://{}/v1/kept", gateway.address);
    tokio::spawn(async move {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        for number in first.. {
            let steps = json!([["set", key, number.to_string()]]).to_string();
            let sent = client
                .post(&url)
                .json(&instance(json!({"do": steps})))
                .send()
                .await;
            let Ok(answer) = sent else { return };
            let Ok(answer) = answer.json::<Value>().await else {
                return;
            };
            assert!(answer["did"][0].is_u64(), "{answer}");
            if acknowledged.send((key.clone(), number)).is_err() {
                return;
            }
        }
    })
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_reported_and_never_taken_for_an_empty_one() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("truncated", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("emptied", |_| Vec::new()),
        ("overwritten", |bytes| vec![b'x'; bytes.len()]),
        ("flipped", |bytes| {
            bytes
                .into_iter()
                .enumerate()
                .map(|(at, byte)| if at % 512 == 300 { !byte } else { byte })
                .collect()
        }),
        ("a text", |_| b"this is no store\n".repeat(1000)),
    ];
    for (what, damage) in damages {
        let kept = Kept::new();
        let gateway = kept.start(TARGET).await;
        let steps: Vec<_> = (0..40)
            .map(|number| json!(["set-long", format!("key {number}"), 500]))
            .collect();
        take(&gateway, "kept", json!(steps)).await;
        gateway.written().await;
        let whole = fs::read(kept.file()).expect("the store");
        let damaged = damage(whole);
        fs::write(kept.file(), &damaged).expect("it is ours");
        let configuration = format!(
            "admin.listen = \"127.0.0.1:0\"\n{TARGET}\ntargets.echo.component = \"echo.wasm\""
        );

        for start in ["the first", "a later"] {
            let gateway = kept.start(&configuration).await;
            let did = take(
                &gateway,
                "kept",
                json!([["get", "key 1"], ["set", "key 1", "v"]]),
            )
            .await;
            let neighbour = gateway.ask("echo", &instance(json!({}))).await;
            let metrics = gateway
                .ask_admin(reqwest::Method::GET, "/metrics", "")
                .await
                .body;

            let down = json!({"error": "StateError::Unavailable(\"the store does not work\")"});
            assert_eq!(did, json!([down, down]), "{what}, {start} start");
            assert_eq!(neighbour.status, 200);
            assert!(metrics.contains("\nvendordock_state_up 0\n"), "{metrics}");
            gateway
                .log_line(&[
                    "ERROR",
                    "the state was damaged",
                    "until a backup is put in its old place",
                ])
                .await;
        }
        let aside: Vec<_> = kept
            .names()
            .into_iter()
            .filter(|name| name.starts_with("state.redb.damaged-"))
            .collect();
        assert_eq!(aside.len(), 1, "{what}: {:?}", kept.names());
        assert!(!kept.file().exists());
        let aside = kept.path().join(&aside[0]);
        assert!(
            fs::read(&aside).expect("it is there") == damaged,
            "{what}: not a byte is changed"
        );

        // The operator decides that nothing of it is needed.
        fs::rename(&aside, kept.path().join("examined")).expect("it is ours");
        let gateway = kept.start(TARGET).await;
        let did = take(
            &gateway,
            "kept",
            json!([["get", "key 1"], ["set", "key 1", "v"]]),
        )
        .await;
        assert_eq!(did, json!([null, 1]), "{what}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_hurts_no_longer_than_it_is_full() {
    let kept = Kept::new();
    let configuration = kept.configuration(
        r#"targets.kept = { component = "state.wasm", state = { bytes = 100000000 } }"#,
    );
    let two_mebibytes = 2048;
    let gateway = Gateway::serve_by(Directory::new(), &configuration, |directory, arguments| {
        directory.spawn_with_file_size(two_mebibytes, arguments)
    })
    .await;
    let set = async |number: u64| {
        let did = take(
            &gateway,
            "kept",
            json!([["set-long", number.to_string(), 60_000]]),
        )
        .await;
        did[0].is_u64()
    };

    let mut written = 0;
    while set(written).await {
        written += 1;
        assert!(written < 100, "it is never full");
    }
    gateway
        .log_line(&["ERROR", "the state cannot be written"])
        .await;
    take_until(&gateway, json!(["delete", "0"]), Value::Null).await;
    let did = take(
        &gateway,
        "kept",
        json!([["set", "small", "v"], ["list-keys", ""]]),
    )
    .await;
    let keys = did[1][0].as_array().expect("keys").len() as u64;

    assert!(did[0].is_u64(), "{did}");
    assert!((5..100).contains(&written), "{written}");
    // All that was acknowledged, without the first, with the small one; and the refused one if it came through.
    assert!(
        (written..=written + 1).contains(&keys),
        "{keys} of {written}"
    );
}

#[tokio::test]
async fn a_backup_in_the_place_of_a_damaged_file_is_used() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    take(&gateway, "kept", json!([["set", "a", "v"]])).await;
    gateway.written().await;
    let backup = fs::read(kept.file()).expect("the store");
    fs::write(kept.file(), "damaged").expect("it is ours");
    drop(kept.start(TARGET).await);

    fs::write(kept.file(), backup).expect("it is ours");
    let gateway = kept.start(TARGET).await;
    let did = take(&gateway, "kept", json!([["get", "a"]])).await;

    assert_eq!(did, json!([["v", 1, null]]));
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused_and_left_as_it_is() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    take(&gateway, "kept", json!([["set", "a", "v"]])).await;
    drop(gateway);
    let set_format = |format: u64| {
        let database = redb::Database::open(kept.file()).expect("a store");
        let transaction = database.begin_write().expect("nobody writes");
        let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
        let mut table = transaction.open_table(meta).expect("it has one");
        let bytes = format.to_be_bytes();
        table.insert("format", &bytes[..]).expect("room");
        drop(table);
        transaction.commit().expect("a commit");
    };

    set_format(2);
    let (code, told) = kept.refused(TARGET);
    set_format(1);
    let gateway = kept.start(TARGET).await;
    let did = take(&gateway, "kept", json!([["get", "a"]])).await;

    insta::assert_snapshot!(told, @"vendordock.toml:2: state.path: state.redb is of format 2, and this gateway knows 1: a later version wrote it");
    assert_eq!(code, Some(2));
    assert_eq!(did, json!([["v", 1, null]]));
}

#[tokio::test]
async fn two_gateways_do_not_use_one_file() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;

    let (code, told) = kept.refused(TARGET);
    let did = take(&gateway, "kept", json!([["set", "a", "v"]])).await;

    insta::assert_snapshot!(told.lines().last().unwrap_or_default(), @"vendordock: [state]: another process is using state.redb: each gateway needs a file of its own");
    // Not 2: the one that has it may be about to end.
    assert_eq!(code, Some(1));
    assert_eq!(did, json!([1]));
}

#[test]
fn a_directory_that_is_not_there_or_that_anybody_can_write_to_is_refused() {
    let kept = Kept::new();
    let open = kept.path().join("open");
    fs::create_dir(&open).expect("it is ours");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let configuration = |path: &str| {
        let text = kept.configuration(TARGET);
        text.replace("state.redb\"", &format!("{path}/state.redb\""))
    };

    let mut told = String::new();
    for path in ["open", "absent"] {
        for command in ["serve", "check"] {
            let directory = Directory::new().with("vendordock.toml", configuration(path));
            let finished = directory.run(&[command, "--config", "vendordock.toml"]);
            assert_eq!(finished.code, Some(2));
            told += finished.stderr.lines().last().unwrap_or_default();
            told += "\n";
        }
    }

    let told = told.replace(&kept.path().display().to_string(), "DIRECTORY");
    insta::assert_snapshot!(told, @r#"
    vendordock.toml:2: state.path: anybody on this machine can write into the directory DIRECTORY/open: take that away, `chmod o-w`, or choose another
    vendordock.toml:2: state.path: anybody on this machine can write into the directory DIRECTORY/open: take that away, `chmod o-w`, or choose another
    vendordock.toml:2: state.path: DIRECTORY/absent cannot be used: No such file or directory (os error 2)
    vendordock.toml:2: state.path: DIRECTORY/absent cannot be used: No such file or directory (os error 2)
    "#);
}

/// 32 bytes in base64, each this one.
fn key(byte: u8) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode([byte; 32]) + "\n"
}

#[tokio::test]
async fn a_store_opens_with_its_own_key_only_and_the_error_says_what_is_missing() {
    let kept = Kept::new();
    let with_keys = |keys: &str| format!("state.key_file = {keys}\n{TARGET}");
    let at = |name: &str| kept.path().join(name);
    fs::write(at("first"), key(1)).expect("it is ours");
    fs::write(at("second"), key(2)).expect("it is ours");
    fs::write(at("short"), "c2hvcnQ=").expect("it is ours");
    let (first, second, short) = (at("first"), at("second"), at("short"));
    let gateway = kept.start(&with_keys(&format!("{first:?}"))).await;
    take(&gateway, "kept", json!([["set", "a", "v"]])).await;
    drop(gateway);

    let mut told = String::new();
    for keys in [
        format!("{second:?}"),
        format!("{short:?}"),
        format!("{:?}", at("absent")),
    ] {
        let (code, error) = kept.refused(&with_keys(&keys));
        assert_eq!(code, Some(2));
        told += error.lines().last().unwrap_or_default();
        told += "\n";
    }
    let (_, without) = kept.refused(TARGET);
    told += without.lines().last().unwrap_or_default();

    insta::assert_snapshot!(told, @r#"
    vendordock.toml:3: state.key_file: state.redb was sealed with a key that is not among second: list that key too, after the one that shall seal from now on
    vendordock.toml:3: state.key_file: the key file short has to hold 32 bytes in base64: `openssl rand -base64 32` makes them
    vendordock.toml:3: state.key_file: the secret file absent cannot be read: No such file or directory (os error 2)
    vendordock.toml:2: state.path: state.redb was sealed with the key in state.key, which is not there: put it back, or move state.redb away to begin anew
    "#);
    let gateway = kept.start(&with_keys(&format!("{first:?}"))).await;
    assert_eq!(
        take(&gateway, "kept", json!([["get", "a"]])).await,
        json!([["v", 1, null]])
    );
}

#[tokio::test]
async fn after_one_start_with_a_new_key_the_old_one_is_not_needed_any_more() {
    let kept = Kept::new();
    let gateway = kept.start(TARGET).await;
    take(
        &gateway,
        "kept",
        json!([["set", "a", "v"], ["set", "b", "w", 3_600_000]]),
    )
    .await;
    drop(gateway);
    let (new, old) = (kept.path().join("new"), kept.path().join("state.key"));
    fs::write(&new, key(7)).expect("it is ours");

    let gateway = kept
        .start(&format!("state.key_file = [{new:?}, {old:?}]\n{TARGET}"))
        .await;
    let during = take(&gateway, "kept", json!([["get", "a"], ["set", "c", "x"]])).await;
    drop(gateway);
    fs::remove_file(&old).expect("it is ours");
    let gateway = kept
        .start(&format!("state.key_file = {new:?}\n{TARGET}"))
        .await;
    let after = take(
        &gateway,
        "kept",
        json!([["get", "a"], ["get", "c"], ["delete", "b", 2]]),
    )
    .await;

    assert_eq!(during, json!([["v", 1, null], 3]));
    assert_eq!(after, json!([["v", 1, null], ["x", 3, null], null]));
}

#[tokio::test]
async fn a_key_that_is_lost_is_not_replaced_by_a_new_one() {
    let kept = Kept::new();
    drop(kept.start(TARGET).await);
    fs::remove_file(kept.path().join("state.key")).expect("it is ours");

    let (code, told) = kept.refused(TARGET);

    insta::assert_snapshot!(told.lines().last().unwrap_or_default(), @"vendordock.toml:2: state.path: state.redb was sealed with the key in state.key, which is not there: put it back, or move state.redb away to begin anew");
    assert_eq!(
        (code, kept.path().join("state.key").exists()),
        (Some(2), false)
    );
}

#[tokio::test]
async fn nothing_that_a_plugin_keeps_can_be_read_from_the_files() {
    let kept = Kept::new();
    let secret = "Kept by the plugin, and by nobody else";
    let gateway = kept
        .start(&format!(
            "log.filter = \"trace,cranelift_codegen=off\"\n{TARGET}"
        ))
        .await;
    take(
        &gateway,
        "kept",
        json!([
            ["set", "a", secret],
            ["set", "b", secret, 1],
            ["set", "a", secret],
            ["delete", "a"],
            ["set", "c", secret],
            ["get", "c"]
        ]),
    )
    .await;

    let log = gateway.written().await;

    assert!(!log.contains(secret));
    let mut found_key = false;
    for name in kept.names() {
        let bytes = fs::read(kept.path().join(&name)).expect("it is ours");
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        assert!(!has(secret) && !has("by nobody else"), "{name}");
        found_key |= has("target/default/kept");
    }
    assert!(found_key, "the files were searched that the state is in");
}
