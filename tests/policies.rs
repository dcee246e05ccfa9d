//! Whose good token is good enough: by default, and for one target.

use serde_json::json;
use vendordock_stand_ins::Keystone;

use crate::callers::{HOUR, gateway, keystone};
use crate::gateway::{Gateway, instance};

/// Which of these tokens a target lets in, by their names.
async fn let_in(
    gateway: &Gateway,
    target: &str,
    tokens: &[(&'static str, String)],
) -> Vec<&'static str> {
    let body = instance(json!({}));
    let mut let_in = Vec::new();
    for (name, token) in tokens {
        let status = gateway.ask_as(token, target, &body).await.status;
        assert!(matches!(status, 200 | 403), "{name} at {target}: {status}");
        if status == 200 {
            let_in.push(*name);
        }
    }
    let_in
}

fn tokens(keystone: &Keystone) -> Vec<(&'static str, String)> {
    let issue = |user, project, role| keystone.issue(user, project, &[role], HOUR);
    vec![
        ("nova", issue("nova", "service", "service")),
        ("glance", issue("glance", "service", "service")),
        ("admin of demo", issue("root", "demo", "admin")),
        ("service of demo", issue("nova", "demo", "service")),
        ("member of service", issue("plain", "service", "member")),
    ]
}

#[tokio::test]
async fn a_target_may_ask_for_other_users_roles_and_projects_than_the_rest() {
    let keystone = keystone().await;
    let demo = keystone.project_id("demo");
    let gateway = gateway(
        &keystone,
        &format!(
            r#"
            [targets.nova]
            component = "echo.wasm"
            accept = {{ users = [{{ name = "nova" }}] }}
            [targets.by-id]
            component = "echo.wasm"
            accept = {{ users = [{{ id = "{nova}" }}] }}
            [targets.admins]
            component = "echo.wasm"
            accept = {{ roles = ["admin"], projects = [{{ id = "{demo}" }}] }}
            [targets.several]
            component = "echo.wasm"
            accept = {{ roles = ["admin", "service"], projects = [{{ name = "demo" }}, {{ name = "service" }}] }}
            "#,
            nova = keystone.user_id("nova"),
        ),
    )
    .await;
    let tokens = tokens(&keystone);

    for (target, expected) in [
        ("echo", vec!["nova", "glance"]),
        ("nova", vec!["nova"]),
        ("by-id", vec!["nova"]),
        ("admins", vec!["admin of demo"]),
        (
            "several",
            vec!["nova", "glance", "admin of demo", "service of demo"],
        ),
    ] {
        assert_eq!(
            let_in(&gateway, target, &tokens).await,
            expected,
            "{target}"
        );
    }
    // Each was asked about once, whatever the targets made of it.
    assert_eq!(keystone.validations(), tokens.len());
}

#[tokio::test]
async fn a_caller_who_is_accepted_nowhere_learns_not_which_targets_there_are() {
    let keystone = keystone().await;
    let gateway = gateway(&keystone, "").await;
    let member = keystone.issue("plain", "service", &["member"], HOUR);
    let body = instance(json!({}));

    let there = gateway.ask_as(&member, "echo", &body).await;
    let not_there = gateway.ask_as(&member, "ohce", &body).await;

    assert_eq!((there.status, not_there.status), (403, 403));
    assert_eq!(there.body, not_there.body);
}

#[tokio::test]
async fn the_clouds_own_policy_can_name_users_and_projects_by_id() {
    let keystone = keystone().await;
    let accept = format!(
        "[keystone.accept]\nroles = [\"admin\"]\nprojects = [{{ id = \"{}\" }}]\nusers = [{{ id = \"{}\" }}]",
        keystone.project_id("demo"),
        keystone.user_id("root")
    );
    let gateway = gateway(&keystone, &accept).await;

    let let_in = let_in(&gateway, "echo", &tokens(&keystone)).await;

    assert_eq!(let_in, ["admin of demo"]);
}
