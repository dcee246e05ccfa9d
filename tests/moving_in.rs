//! The two plugins that a site starts with: `static` for what it has in a file, `proxy` for the service that it has already.

use serde_json::json;

use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

fn proxy(upstream: &Upstream, more: &str) -> String {
    format!(
        r##"
        auth.require = "none"
        [targets.pollinate]
        component = "proxy.wasm"
        egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
        config = {{ url = "{url}/pollinate?cell=1" {more} }}
        "##,
        url = upstream.url()
    )
}

#[tokio::test]
async fn a_site_answers_from_its_configuration() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.site]
        component = "static.wasm"
        [targets.site.config.body]
        domain = "example.test"
        fqdn = "{{ hostname }}.example.test"
        project = "{{ project_id }}"
        tier = "{{ metadata.tier | default(\"tin\") }}"
        servers = ["ntp1", { weight = 3, of = "{{ cloud }}" }]
        "##,
    )
    .await;

    let answer = gateway.ask("site", &instance(json!({}))).await;
    let hostile = gateway
        .ask(
            "site",
            &instance(json!({ "tier": "\", \"admin\": \"{{ hostname }}" })),
        )
        .await;

    insta::assert_snapshot!(answer, @r#"200 {"domain":"example.test","fqdn":"web.example.test","project":"039d104b7a5c4631b4ba6524d0b9e981","servers":["ntp1",{"of":"default","weight":3}],"tier":"tin"}"#);
    assert_eq!(hostile.at("/tier"), "\", \"admin\": \"{{ hostname }}");
    assert_eq!(hostile.at("/admin"), json!(null));
}

#[test]
fn a_template_that_is_none_is_told_with_its_line() {
    let finished = Directory::new()
        .with(
            "vendordock.toml",
            r##"
auth.require = "none"
[targets.site]
component = "static.wasm"
[targets.site.config.body]
fqdn = "{{ hostnam }}"
"##,
        )
        .run(&["check", "--config", "vendordock.toml"]);

    assert_eq!(finished.code, Some(2));
    insta::assert_snapshot!(finished.stderr, @r#"vendordock.toml:6: targets.site.config.body.fqdn: `hostnam` is not known here; known: instance_id, project_id, hostname, image_id, boot_roles, target, cloud, metadata.KEY, metadata["KEY"]"#);
}

#[tokio::test]
async fn a_request_reaches_the_service_as_nova_sent_it_and_its_answer_nova_as_it_sent_that() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&proxy(&upstream, "")).await;
    let mut body = instance(json!({ "a": "1" }));
    body["user-data"] = json!("c2VjcmV0");

    let (answer, ()) = tokio::join!(gateway.ask_as("nova's token", "pollinate", &body), async {
        let asked = upstream.next().await;
        assert!(
            asked
                .request
                .starts_with("POST /pollinate?cell=1 HTTP/1.1\r\n"),
            "{}",
            asked.request
        );
        assert_eq!(asked.header("content-type"), "application/json");
        assert_eq!(asked.header("x-auth-token"), "");
        let (_, sent) = asked.request.split_once("\r\n\r\n").expect("it has a body");
        let sent: serde_json::Value = serde_json::from_str(sent).expect("JSON");
        let mut expected = body.clone();
        expected["user-data"] = json!(null);
        assert_eq!(sent, expected, "user data was not granted");
        asked
            .answer("200 OK", &[], "{ \"nectar\": {\"b\":1} }")
            .await;
    });

    assert_eq!(answer.to_string(), "200 { \"nectar\": {\"b\":1} }");
}

#[tokio::test]
async fn the_service_gets_a_credential_where_one_is_configured() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    for (header, name, value) in [
        ("", "authorization", "Bearer secret"),
        ("header = \"X-Service-Key\"", "x-service-key", "secret"),
    ] {
        let configuration = format!(
            r##"
            auth.require = "none"
            [targets.pollinate]
            component = "proxy.wasm"
            egress = [{{ to = "{url}", networks = ["127.0.0.0/8"] }}]
            credentials.service = {{ secret = {{ file = "key" }}, origins = ["{url}"] }}
            [targets.pollinate.config]
            url = "{url}/"
            credential = "service"
            {header}
            "##
        );
        let directory = Directory::new().with("key", "secret\n");
        let gateway = Gateway::serve(directory, &configuration).await;

        let body = instance(json!({}));
        let (answer, ()) = tokio::join!(gateway.ask("pollinate", &body), async {
            let asked = upstream.next().await;
            assert_eq!(asked.header(name), value);
            asked.answer("204 No Content", &[], "").await;
        });

        assert_eq!(answer.to_string(), "200 {}");
    }
}

#[tokio::test]
async fn what_the_service_refuses_keeps_its_meaning() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&proxy(&upstream, "")).await;
    let body = instance(json!({}));
    let mut told = Vec::new();

    for (status, headers, content) in [
        ("404 Not Found", &[][..], "hunter2"),
        ("403 Forbidden", &[], "hunter2"),
        ("401 Unauthorized", &[], "hunter2"),
        ("302 Found", &["Location: /elsewhere"], ""),
        ("503 Service Unavailable", &["Retry-After: 3"], "hunter2"),
        ("500 Internal Server Error", &[], "hunter2"),
        ("200 OK", &[], "<html>hunter2"),
        ("200 OK", &[], "[1]"),
    ] {
        let (answer, ()) = tokio::join!(gateway.ask("pollinate", &body), async {
            upstream.next().await.answer(status, headers, content).await;
        });
        told.push(format!(
            "{status}: {} {} {}",
            answer.status,
            answer.header("retry-after"),
            answer.at("/error/message")
        ));
    }

    insta::assert_snapshot!(told.join("\n"), @r#"
    404 Not Found: 404  "the service knows nothing of this instance (404)"
    403 Forbidden: 403  "the service refuses this instance (403)"
    401 Unauthorized: 500  "the target's configuration is at fault: the gateway's log says where"
    302 Found: 500  "the target's configuration is at fault: the gateway's log says where"
    503 Service Unavailable: 503 3 "a service behind the plugin is not available"
    500 Internal Server Error: 502  "a service behind the plugin failed"
    200 OK: 502  "a service behind the plugin failed"
    200 OK: 502  "the plugin's answer would break a guest and is not handed on"
    "#);
    let log = gateway.written().await;
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_service_that_answers_cloud_init_with_a_string_is_one_for_the_gateway_too() {
    let upstream = Upstream::start().await;
    let configuration = format!(
        "{}\nkind = \"cloud-init\"",
        proxy(&upstream, "").replace("targets.pollinate", "targets.cloud-init")
    );
    let gateway = Gateway::start(&configuration).await;

    let body = instance(json!({}));
    let (answer, ()) = tokio::join!(gateway.ask("cloud-init", &body), async {
        let text = json!("#cloud-config\nruncmd: [a]\n").to_string();
        upstream.next().await.answer("200 OK", &[], &text).await;
    });

    let message = answer.at("");
    let message = message.as_str().expect("a string");
    assert!(
        message.contains("\n#cloud-config\nruncmd: [a]\n"),
        "{message}"
    );
    assert!(
        message.contains("filename=\"vendordock-0101-cloud-init-part\""),
        "{message}"
    );
}
