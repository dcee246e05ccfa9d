//! What the examples keep, and what it is good for.

use serde_json::json;

use super::{Upstream, ask, directory, facts, product_key, wanting};
use crate::gateway::{Gateway, instance};

/// A target's configuration with state granted to it, in a store beside the configuration.
fn with_state(target: &str) -> String {
    let granted = target.replace("timeout_ms = 3000", "timeout_ms = 3000\ncache_max_ttl_ms = 0\nstate = {}");
    format!("auth.require = \"none\"\nstate.path = \"state.redb\"\n{granted}")
}

#[tokio::test]
async fn a_key_is_asked_for_once_for_each_instance_and_so_often_a_day_for_each_project() {
    let upstream = Upstream::start().await;
    let configuration = with_state(&product_key("licence", &upstream, "keys_per_day = 2"));
    let gateway = Gateway::serve(directory(), &configuration).await;
    let of = |number: u32| {
        let mut body = wanting("windows-2025");
        body["instance-id"] = json!(format!("a3a4c0b6-2b1c-4f6e-9d5f-00000000000{number}"));
        body
    };
    let created = |key: &'static str| ("201 Created", &[][..], key);

    let (first, _) = ask(&gateway, "licence", &of(1), &upstream, created(r#"{"key": "AAAA"}"#)).await;
    let again = gateway.ask("licence", &of(1)).await;
    // What was not given does not count.
    let none_left = ("409 Conflict", &[][..], "{}");
    let (refused, _) = ask(&gateway, "licence", &of(2), &upstream, none_left).await;
    let (second, _) = ask(&gateway, "licence", &of(2), &upstream, created(r#"{"key": "BBBB"}"#)).await;
    let third = gateway.ask("licence", &of(3)).await;
    drop(upstream);
    let down = gateway.ask("licence", &of(2)).await;

    insta::assert_snapshot!(first, @r#"200 {"product": "windows-2025", "key": "AAAA"}"#);
    assert_eq!(again.to_string(), first.to_string());
    assert_eq!(refused.status, 503, "{refused}");
    insta::assert_snapshot!(second, @r#"200 {"product": "windows-2025", "key": "BBBB"}"#);
    insta::assert_snapshot!(third, @r#"429 {"error":{"code":429,"message":"the plugin asks to wait","title":"Too Many Requests"}}"#);
    assert_eq!(down.to_string(), second.to_string());
}

#[tokio::test]
async fn what_was_known_of_an_instance_stands_in_while_the_inventory_is_down() {
    let upstream = Upstream::start().await;
    let configuration = with_state(&facts("facts", &upstream, ""));
    let gateway = Gateway::serve(directory(), &configuration).await;
    let body = instance(json!({}));

    let known = ("200 OK", &[][..], r#"{"role": "database"}"#);
    let (first, _) = ask(&gateway, "facts", &body, &upstream, known).await;
    let failing = ("500 Internal Server Error", &[][..], "{}");
    let (failed, _) = ask(&gateway, "facts", &body, &upstream, failing).await;
    let refusing = ("401 Unauthorized", &[][..], "{}");
    let (refused, _) = ask(&gateway, "facts", &body, &upstream, refusing).await;
    drop(upstream);
    let down = gateway.ask("facts", &body).await;
    let mut renamed = body.clone();
    renamed["hostname"] = json!("other");
    let other = gateway.ask("facts", &renamed).await;

    insta::assert_snapshot!(first, @r#"200 {"role":"database"}"#);
    assert_eq!(failed.to_string(), first.to_string());
    gateway.log_line(&["answered what was known before", "the URL answers 500"]).await;
    assert_eq!(refused.status, 500, "somebody has to look at the configuration: {refused}");
    assert_eq!(down.to_string(), first.to_string());
    assert_eq!(other.status, 502, "of this name nothing was known: {other}");
}
