//! What the log tells of each request, and of each secret that is handed out.

use serde_json::{Value, json};
use vendordock_stand_ins::Ipa;

use crate::callers::{self, HOUR, keystone};
use crate::gateway::{Gateway, instance};
use crate::join;
use crate::program::Directory;

/// The lines of one module, as JSON; `log.format` is "json".
fn lines<'a>(log: &'a str, module: &'a str) -> impl Iterator<Item = Value> + 'a {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(move |line| line["target"] == module)
}

#[tokio::test]
async fn each_request_has_one_line_with_who_what_how_and_whose_fault() {
    let keystone = keystone().await;
    let gateway = callers::gateway(
        &keystone,
        "[log]\nformat = \"json\"\n[targets.trap]\ncomponent = \"trap.wasm\"",
    )
    .await;
    let nova = callers::nova(&keystone);
    let member = keystone.issue("plain", "service", &["member"], HOUR);
    let body = instance(json!({}));
    for (token, target) in [
        (&*nova, "echo"),
        (&nova, "echo"),
        (&nova, "trap"),
        (&nova, "nothing"),
        (&member, "echo"),
        ("garbage", "echo"),
    ] {
        gateway.ask_as(token, target, &body).await;
    }
    let user = keystone.user_id("nova");

    let log = gateway.written().await;
    let told: Vec<String> = lines(&log, "vendordock::requests")
        .map(|line| {
            // What is known from the start is in the span of a request that left the short path.
            let at = |key: &str| match &line[key] {
                Value::Null => line["span"][key].clone(),
                value => value.clone(),
            };
            assert!(
                at("request.id")
                    .as_str()
                    .is_some_and(|id| id.starts_with("req-"))
            );
            assert!(line["time_ms"].is_u64(), "{line}");
            let caller = at("caller").to_string().replace(&user, "NOVA");
            let instance = if at("instance.id").is_null() {
                "no"
            } else {
                "an"
            };
            format!(
                "{} {} {} {caller} {instance} instance, cache {}, fault {}",
                at("vendordata.cloud"),
                at("vendordata.target"),
                at("status"),
                at("cache"),
                at("fault"),
            )
        })
        .collect();

    insta::assert_snapshot!(told.join("\n"), @r#"
    "default" "echo" 200 "user NOVA" an instance, cache "miss", fault null
    "default" "echo" 200 "user NOVA" an instance, cache "hit", fault null
    "default" "trap" 500 "user NOVA" an instance, cache null, fault "guest"
    "default" "nothing" 404 "user NOVA" no instance, cache null, fault "caller"
    "default" "echo" 403 null no instance, cache null, fault "caller"
    "default" "echo" 401 null no instance, cache null, fault "caller"
    "#);
}

#[tokio::test]
async fn each_handing_out_of_a_secret_has_a_line_of_its_own_without_the_secret() {
    let ipa = Ipa::start().await;
    let directory = join::directory(&ipa, Ipa::PASSWORD);
    let configuration = format!(
        "auth.require = \"none\"\nlog.format = \"json\"\n{}",
        join::target(&ipa)
    );
    let gateway = Gateway::serve(directory, &configuration).await;
    let enrolling = instance(json!({"ipa_enroll": "true"}));
    let answers = [
        gateway.ask("join", &enrolling).await,
        gateway.ask("join", &enrolling).await,
        gateway.ask("join", &instance(json!({}))).await,
    ];
    let otp = answers[0].at("/ipaotp");
    let otp = otp.as_str().expect("a password");

    let log = gateway.written().await;
    let told: Vec<Value> = lines(&log, "vendordock::audit")
        .map(|line| {
            json!([
                line["vendordata.cloud"],
                line["vendordata.target"],
                line["instance.id"],
                line["project.id"],
                line["caller"],
                line["cache"],
                line["message"],
            ])
        })
        .collect();

    let line = |cache: &str| {
        json!([
            "default",
            "join",
            "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11",
            "039d104b7a5c4631b4ba6524d0b9e981",
            "anyone",
            cache,
            "handed out a secret"
        ])
    };
    assert_eq!(told, [line("miss"), line("hit")]);
    assert!(!log.contains(otp), "{log}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_neither_an_answer_nor_the_end() {
    let configuration = "auth.require = \"none\"\ntargets.echo.component = \"echo.wasm\"";
    let mut gateway = Gateway::serve_by(Directory::new(), configuration, |directory, arguments| {
        directory.spawn_unread(arguments)
    })
    .await;
    let body = instance(json!({}));

    // A pipe holds 64 KiB, and a line is longer than 200 bytes.
    for _request in 0..1_000 {
        assert_eq!(gateway.ask("echo", &body).await.status, 200);
    }

    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
}
