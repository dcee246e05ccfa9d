//! Tokens that the operator made.

use serde_json::json;

use crate::gateway::{Gateway, instance};
use crate::program::Directory;

/// What `vendordock token` prints: a token, and the line for the configuration.
fn token(name: &str) -> (String, String) {
    let made = Directory::new().run(&["token", "--name", name]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    (made.stdout.trim().to_owned(), made.stderr.trim().to_owned())
}

#[tokio::test]
async fn while_tokens_are_changed_the_old_and_the_new_are_both_good() {
    let ((old, old_line), (new, new_line)) = (token("old"), token("new"));
    let gateway = Gateway::start(&format!(
        "[auth]\nrequire = \"static-token\"\n[auth.static_tokens]\n{old_line}\n{new_line}\n\
         [targets.echo]\ncomponent = \"echo.wasm\"\n"
    ))
    .await;
    let body = instance(json!({}));
    let mut answers = Vec::new();

    for token in [&*old, &*new, &old[1..], "", "old", &old_line] {
        answers.push(gateway.ask_as(token, "echo", &body).await.status);
    }
    answers.push(gateway.ask("echo", &body).await.status);

    assert_eq!(answers, [200, 200, 401, 401, 401, 401, 401]);
    gateway.log_line(&["answered", "caller=token old"]).await;
    gateway.log_line(&["answered", "caller=token new"]).await;
    let log = gateway.written().await;
    assert!(!log.contains(&old) && !log.contains(&new), "{log}");
}

#[test]
fn the_hash_of_a_token_that_is_there_already_can_be_had() {
    let (token, line) = token("nova");
    let directory = Directory::new();

    let hashed = directory.run_with_input(&token, &["token", "--hash"]);

    assert_eq!((hashed.code, &*hashed.stdout), (Some(0), ""));
    assert_eq!(hashed.stderr.trim(), line);
}

#[test]
fn a_token_in_place_of_its_hash_is_refused_and_not_repeated() {
    let directory = Directory::new().with(
        "vendordock.toml",
        "[auth]\nrequire = \"static-token\"\n[auth.static_tokens]\nnova = \"hunter2\"\n\
         [targets.echo]\ncomponent = \"echo.wasm\"\n",
    );

    let checked = directory.run(&["check", "--config", "vendordock.toml"]);

    assert_eq!(checked.code, Some(2));
    insta::assert_snapshot!(checked.stderr, @"vendordock.toml:4: auth.static_tokens.nova: not a token's hash; `vendordock token` makes a token with its hash, `sha256:` and 64 hexadecimal digits");
}
