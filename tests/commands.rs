//! The commands for people: `request`, `nova-conf` and the help.

use serde_json::{Value, json};

use crate::configuration::good;
use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

#[tokio::test]
async fn request_sends_what_nova_would_and_prints_the_answer() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm", user_data = true }
        "#,
    )
    .await;
    let url = format!("http://{}", gateway.address);
    let directory = Directory::new().with("user-data", "#cloud-config\n");

    let finished = directory.run(&[
        "request",
        "echo",
        "--url",
        &url,
        "--instance-id=i-1",
        "--project-id=p-1",
        "--image-id=m-1",
        "--hostname=web",
        "--metadata=ipa_enroll=true",
        "--metadata=note=a=b",
        "--boot-roles=admin",
        "--user-data=user-data",
    ]);

    assert_eq!(finished.code, Some(0), "{finished:?}");
    let answer: Value = serde_json::from_str(&finished.stdout).expect("JSON alone");
    assert_eq!(
        answer["instance"],
        json!({
            "id": "i-1",
            "project_id": "p-1",
            "image_id": "m-1",
            "hostname": "web",
            "metadata": {"ipa_enroll": "true", "note": "a=b"},
            "boot_roles": ["admin"],
            "user_data": "#cloud-config\n",
        })
    );
    let id = answer["context"]["request_id"].as_str().expect("a text");
    assert!(
        finished.stderr.starts_with("200 OK, "),
        "{}",
        finished.stderr
    );
    assert!(
        finished
            .stderr
            .ends_with(&format!(" ms, request id {id}\n"))
    );
}

#[tokio::test]
async fn request_sends_a_recorded_body_as_it_is() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let url = format!("http://{}/", gateway.address);
    let body = instance(json!({"recorded": "yes"}));
    let directory = Directory::new().with("body.json", body.to_string());

    let finished = directory.run(&["request", "echo", "--url", &url, "--file", "body.json"]);

    let answer: Value = serde_json::from_str(&finished.stdout).expect("JSON alone");
    assert_eq!((finished.code, &answer["raw"]), (Some(0), &body));
}

#[tokio::test]
async fn request_prints_a_refusal_and_exits_with_1() {
    let gateway = Gateway::start(
        r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        "#,
    )
    .await;
    let url = format!("http://{}", gateway.address);
    let directory = Directory::new();

    let refused = directory.run(&["request", "nobody", "--url", &url]);
    drop(gateway);
    let nobody = directory.run(&["request", "echo", "--url", &url]);

    assert_eq!(refused.code, Some(1));
    insta::assert_snapshot!(refused.stdout, @r#"
    {
      "error": {
        "code": 404,
        "message": "no such target: compare the name in the URL with the [targets.NAME] tables",
        "title": "Not Found"
      }
    }
    "#);
    assert!(
        refused.stderr.starts_with("404 Not Found, "),
        "{}",
        refused.stderr
    );
    assert_eq!((nobody.code, &*nobody.stdout), (Some(1), ""));
    assert!(
        nobody.stderr.contains("Connection refused"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test]
async fn request_takes_the_token_from_the_environment_or_the_arguments() {
    let upstream = Upstream::start().await;
    let url = upstream.url();

    for (variables, argument) in [
        (vec![("VENDORDOCK_TOKEN", "gAAAAA")], None),
        (
            vec![("VENDORDOCK_TOKEN", "another")],
            Some("--token=gAAAAA"),
        ),
    ] {
        let url = url.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let arguments = ["request", "echo", "--url", &url]
                .into_iter()
                .chain(argument);
            let arguments: Vec<&str> = arguments.collect();
            Directory::new().run_with(&variables, &arguments)
        });
        let waiting = upstream.next().await;
        assert!(waiting.request.starts_with("POST /v1/echo HTTP/1.1\r\n"));
        assert_eq!(waiting.header("x-auth-token"), "gAAAAA");
        waiting.answer("200 OK", &[], "{}").await;
        assert_eq!(asking.await.expect("no panic").code, Some(0));
    }
}

#[test]
fn nova_conf_prints_the_lines_that_fit_the_configuration() {
    let finished = good().run(&["nova-conf", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    insta::assert_snapshot!(finished.stdout, @r#"
    [api]
    # StaticJSON is nova's default; DynamicJSON is what asks the targets.
    vendordata_providers = StaticJSON,DynamicJSON
    vendordata_dynamic_targets = echo@http://127.0.0.1:9090/v1/echo,join@http://127.0.0.1:9090/v1/join
    vendordata_dynamic_connect_timeout = 5
    vendordata_dynamic_read_timeout = 7
    # True fails the boot of an instance whose vendordata cannot be had, for all targets alike.
    vendordata_dynamic_failure_fatal = False

    [vendordata_dynamic_auth]
    # nova's own account. The gateway accepts any of the roles service and any of the projects service of domain Default.
    auth_type = password
    auth_url = https://keystone.example.test:5000/v3
    username = nova
    password = <nova's password>
    project_name = service
    user_domain_name = Default
    project_domain_name = Default
    "#);
}

#[test]
fn the_help_names_each_command_and_each_command_has_help() {
    let directory = Directory::new();
    let help = directory.run(&["--help"]);
    assert_eq!((help.code, &*help.stderr), (Some(0), ""));

    for command in ["serve", "check", "request", "nova-conf"] {
        let named = |line: &str| line.split_whitespace().next() == Some(command);
        assert!(help.stdout.lines().any(named), "{command}");
        let own = directory.run(&[command, "--help"]);
        assert_eq!((own.code, &*own.stderr), (Some(0), ""));
        assert!(own.stdout.contains("Usage: vendordock "), "{}", own.stdout);
    }
}
