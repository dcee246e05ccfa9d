//! Several clouds behind one gateway: each has its own callers, and nothing of one reaches another.

use serde_json::json;
use vendordock_stand_ins::Keystone;

use crate::callers::{HOUR, keystone};
use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

/// What goes into the file for a cloud of this name.
fn cloud(name: &str, keystone: &Keystone) -> String {
    format!(
        "[clouds.{name}.keystone]\nauth_url = \"{}\"\nusername = \"vendordock\"\npassword = {{ file = \"password\" }}\n",
        keystone.url()
    )
}

fn token(keystone: &Keystone) -> String {
    keystone.issue("nova", "service", &["service"], HOUR)
}

async fn serve(configuration: &str) -> Gateway {
    let directory = Directory::new().with("password", "gateway-secret");
    Gateway::serve(directory, configuration).await
}

#[tokio::test]
async fn a_token_is_good_in_its_own_cloud_only() {
    let (east, west) = (keystone().await, keystone().await);
    let gateway = serve(&format!(
        "{}{}[targets.echo]\ncomponent = \"echo.wasm\"\nclouds = [\"east\", \"west\"]\n",
        cloud("east", &east),
        cloud("west", &west)
    ))
    .await;
    let body = instance(json!({}));
    let (of_east, of_west) = (token(&east), token(&west));
    let mut answers = Vec::new();

    // Twice, so that each is also answered by what is remembered of the token.
    for _ in 0..2 {
        for path in ["east/echo", "west/echo"] {
            for token in [&of_east, &of_west] {
                answers.push(gateway.ask_as(token, path, &body).await.status);
            }
        }
    }

    assert_eq!(answers, [200, 401, 401, 200, 200, 401, 401, 200]);
}

#[tokio::test]
async fn an_answer_for_one_cloud_is_never_given_to_another() {
    let (east, west) = (keystone().await, keystone().await);
    let gateway = serve(&format!(
        "{}{}[targets.echo]\ncomponent = \"echo.wasm\"\nclouds = [\"east\", \"west\"]\n\
         config = {{ scope = \"target\", ttl_ms = 600000 }}\n",
        cloud("east", &east),
        cloud("west", &west)
    ))
    .await;
    let body = instance(json!({}));

    let of_east = gateway.ask_as(&token(&east), "east/echo", &body).await;
    let of_west = gateway.ask_as(&token(&west), "west/echo", &body).await;
    let again = gateway.ask_as(&token(&east), "east/echo", &body).await;

    assert_eq!(of_east.at("/context/cloud"), "east");
    assert_eq!(of_west.at("/context/cloud"), "west");
    assert_eq!(again.body, of_east.body, "it is kept");
}

#[tokio::test]
async fn a_session_that_was_opened_for_one_cloud_is_not_used_for_another() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let directory = Directory::new().with("key", "secret");
    let gateway = Gateway::serve(
        directory,
        &format!(
            r#"
            clouds.east.auth.require = "none"
            clouds.west.auth.require = "none"
            [targets.fetch]
            component = "fetch.wasm"
            clouds = ["east", "west"]
            egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
            [targets.fetch.credentials.key]
            secret = {{ file = "key" }}
            origins = ["{url}"]
            "#
        ),
    )
    .await;
    let mut cookies = Vec::new();

    for (path, run) in [("east/fetch", 1), ("east/fetch", 2), ("west/fetch", 3)] {
        let body = instance(
            json!({"url": url, "credential": "key", "scheme": "session", "run": run.to_string()}),
        );
        let (answer, cookie) = tokio::join!(gateway.ask(path, &body), async {
            let waiting = upstream.next().await;
            let cookie = waiting.header("cookie").to_owned();
            let set = format!("Set-Cookie: id={run}; Path=/");
            waiting.answer("200 OK", &[&set], "well").await;
            cookie
        });
        assert_eq!(answer.status, 200);
        cookies.push(cookie);
    }

    assert_eq!(cookies, ["", "id=1", ""]);
}

#[tokio::test]
async fn a_target_serves_the_clouds_that_it_lists_and_no_other() {
    let gateway = serve(
        r#"
        auth.require = "none"
        clouds.east.auth.require = "none"
        clouds.west.auth.require = "none"
        targets.everywhere = { component = "echo.wasm", clouds = ["default", "east", "west"] }
        targets.east = { component = "echo.wasm", clouds = ["east"] }
        targets.unsaid = { component = "echo.wasm" }
        "#,
    )
    .await;
    let body = instance(json!({}));
    let mut answers = Vec::new();

    for path in [
        "everywhere",
        "default/everywhere",
        "east/everywhere",
        "west/everywhere",
        "east/east",
        "west/east",
        "east",
        "unsaid",
        "east/unsaid",
        "north/everywhere",
    ] {
        answers.push((path, gateway.ask(path, &body).await.status));
    }

    assert_eq!(
        answers,
        [
            ("everywhere", 200),
            ("default/everywhere", 200),
            ("east/everywhere", 200),
            ("west/everywhere", 200),
            ("east/east", 200),
            ("west/east", 404),
            ("east", 404),
            ("unsaid", 200),
            ("east/unsaid", 404),
            ("north/everywhere", 404),
        ]
    );
}

#[test]
fn clouds_that_do_not_fit_together_are_refused_with_key_and_line() {
    let directory = Directory::new().with(
        "vendordock.toml",
        r#"
[clouds.default.auth]
require = "none"
[clouds.east.auth]
require = "none"
[targets.unsaid]
component = "echo.wasm"
[targets.nowhere]
component = "echo.wasm"
clouds = []
[targets.lost]
component = "echo.wasm"
clouds = ["esat"]
[targets.roles]
component = "echo.wasm"
clouds = ["east"]
accept = { roles = ["service"] }
"#,
    );

    let finished = directory.run(&["check", "--config", "vendordock.toml"]);

    assert_eq!(finished.code, Some(2));
    insta::assert_snapshot!(finished.stderr, @r#"
    vendordock.toml:2: clouds.default: `default` is the cloud of [auth] and [keystone]: write its keys there, or choose another name
    vendordock.toml:10: targets.nowhere.clouds: an empty list serves nobody
    vendordock.toml:13: targets.lost.clouds: there is no cloud `esat`; known: default, east
    vendordock.toml:17: targets.roles.accept: the callers of cloud `east` show no keystone token, so that they have no roles, projects and users
    "#);
}
