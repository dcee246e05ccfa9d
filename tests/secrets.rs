//! Whatever is logged, at whatever level: no token, password, user data or body is in it, nor in an error.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::json;
use vendordock_stand_ins::{Authority, Guarded, Ipa, Keystone};

use crate::gateway::{Answer, Gateway, instance};
use crate::join;
use crate::program::Directory;
use crate::upstream::Upstream;

/// But for the compiler's 300,000 lines for each plugin, before the first request.
const EVERYTHING: &str =
    "trace,cranelift_codegen=off,cranelift_frontend=off,wasmtime_internal_cranelift=off";

/// All that a gateway said while it met every kind of request, and what must not be in it.
struct Said {
    log: String,
    errors: String,
    secrets: Vec<(&'static str, String)>,
}

/// The forms in which a secret might be found: as it is, in JSON, in a form, in Rust's `Debug`, in base64 and as bytes.
fn forms(secret: &str) -> Vec<String> {
    let escaped = json!(secret).to_string();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    // Without the end, which depends on what follows.
    let base64 = BASE64_STANDARD.encode(secret);
    let url_safe = BASE64_URL_SAFE_NO_PAD.encode(secret);
    let whole = secret.len() / 3 * 4;
    let mut bytes = format!("{:?}", secret.as_bytes());
    bytes.pop();
    let mut hexadecimal = String::new();
    for byte in secret.bytes() {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    vec![
        secret.to_owned(),
        escaped.trim_matches('"').to_owned(),
        format!("{secret:?}").trim_matches('"').to_owned(),
        form.replace('+', "%20"),
        form,
        base64[..whole].to_owned(),
        url_safe[..whole].to_owned(),
        bytes,
        hexadecimal,
    ]
}

impl Said {
    /// Each secret that was found, with the line it is in.
    fn found(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (name, secret) in &self.secrets {
            for form in forms(secret) {
                for text in [&self.log, &self.errors] {
                    let Some(at) = text.find(&form) else {
                        continue;
                    };
                    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    let line = text[start..].lines().next().unwrap_or_default();
                    found.push((*name, line.to_owned()));
                }
            }
        }
        found.dedup();
        found
    }
}

/// A line of a key in PEM that no other key has.
fn middle_line(pem: &str) -> String {
    pem.lines().nth(2).expect("three lines of it").to_owned()
}

async fn everything(format: &str) -> Said {
    let (ipa, keystone) = (Ipa::start().await, Keystone::start().await);
    let upstream = Upstream::start().await;
    let (servers, clients) = (Authority::new(), Authority::new());
    let certified = Guarded::start_tls(&servers, Some(&clients)).await;
    let pair = clients.issue(&["gateway"]);
    certified.know_certificates(&[&pair]);
    keystone.add_account("vendordock", "Gateway password &1", "service", &["service"]);
    let made = Directory::new().run(&["token"]);
    let (static_token, hashed) = (made.stdout.trim().to_owned(), made.stderr);
    let directory = join::directory(&ipa, Ipa::PASSWORD)
        .with("password", "Gateway password &1\n")
        .with("key", "Key for the upstream +1\n")
        .with("signing", "Key for signatures +2\n")
        .with("front", "Key for the front door +3\n")
        .with("servers.pem", servers.ca_pem())
        .with(
            "pair.pem",
            format!("{}{}", pair.certificate_pem, pair.key_pem),
        );
    let configuration = format!(
        r#"
        log = {{ format = "{format}", filter = "{EVERYTHING}" }}
        admin.listen = "127.0.0.1:0"
        # Where nobody listens: what is to be sent there must not be told either.
        traces.otlp_endpoint = "http://127.0.0.1:9/v1/traces"
        [clouds.west.auth]
        require = "static-token"
        [clouds.west.auth.static_tokens]
        {hashed}
        [keystone]
        auth_url = "{keystone}"
        username = "vendordock"
        password = {{ file = "password" }}
        {join}
        [targets.trap]
        component = "trap.wasm"
        [targets.echo]
        component = "echo.wasm"
        clouds = ["default", "west"]
        user_data = true
        [targets.answers]
        component = "answers.wasm"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{upstream}", networks = ["127.0.0.0/8"] }},
            {{ to = "{certified}", networks = ["127.0.0.0/8"] }},
        ]
        ca_file = "servers.pem"
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{upstream}"]
        [targets.fetch.credentials.signing]
        secret = {{ file = "signing" }}
        hmac = true
        reveal = true
        [targets.fetch.headers.front]
        origins = ["{upstream}"]
        set = {{ X-Front = {{ file = "front" }} }}
        [targets.fetch.credentials.pair]
        secret = {{ file = "pair.pem" }}
        origins = ["{certified}"]
        "#,
        certified = certified.url(),
        keystone = keystone.url(),
        join = join::target(&ipa),
        upstream = upstream.url(),
    );
    let gateway = Gateway::serve(directory, &configuration).await;
    let hour = Duration::from_secs(3600);
    let token = keystone.issue("nova", "service", &["service"], hour);
    let mut answers = Vec::new();

    // Enrolment: with a log-in, with the session, with a new session, refused, cut off.
    let enrolling = |hostname: &str| {
        let mut body = instance(json!({"ipa_enroll": "true", "note": "Metadata of the tenant"}));
        body["hostname"] = json!(hostname);
        body["user-data"] = json!(BASE64_STANDARD.encode("User data of the tenant"));
        body
    };
    for name in ["one", "two", "three", "four", "five"] {
        match name {
            "three" => ipa.expire_sessions(),
            "four" => ipa.faults().lose_answers(1),
            "five" => {
                ipa.expire_sessions();
                ipa.change_password("another");
            }
            _ => {}
        }
        answers.push(gateway.ask_as(&token, "join", &enrolling(name)).await);
    }
    let one_time = ipa.otp("one.example.test").expect("it waits");
    assert_eq!(answers[0].at("/ipaotp"), json!(one_time));

    // A plugin that is given the user data, one that dies of a secret, and one that writes nonsense.
    let echoed = gateway.ask_as(&token, "echo", &enrolling("web")).await;
    assert_eq!(echoed.at("/instance/user_data"), "User data of the tenant");
    let dying = instance(json!({"secret": "Secret that a plugin holds"}));
    answers.push(gateway.ask_as(&token, "trap", &dying).await);
    let nonsense = instance(json!({"body": "{\"Answer of a plugin\""}));
    answers.push(gateway.ask_as(&token, "answers", &nonsense).await);

    // Every way of sending a credential, to an upstream that sets a cookie.
    for scheme in [
        "bearer",
        "basic:alice",
        "header:x-key",
        "form-field:password",
        "session",
    ] {
        let url = upstream.url();
        let body =
            instance(json!({"url": url, "method": "POST", "credential": "key", "scheme": scheme}));
        let (_, ()) = tokio::join!(gateway.ask_as(&token, "fetch", &body), async {
            let waiting = upstream.next().await;
            let cookie = "Set-Cookie: id=CookieOfTheUpstream; Path=/";
            waiting
                .answer("200 OK", &[cookie], "Answer of the upstream")
                .await;
        });
    }

    // Every other use of one, granted and not, and what is wrong with each.
    for (credential, r#use) in [
        ("signing", "hmac:sha256"),
        ("signing", "reveal"),
        ("signing", "version"),
        ("key", "hmac:sha1"),
        ("key", "reveal"),
    ] {
        let body = instance(json!({"credential": credential, "use": r#use, "data": "00"}));
        let answer = gateway.ask_as(&token, "fetch", &body).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    for (scheme, path) in [
        ("client-certificate", "certificate"),
        ("bearer", "bearer"),
        ("form-field:password", "log-in"),
    ] {
        let url = format!("{}/{path}", certified.url());
        let body = instance(json!({"url": url, "credential": "pair", "scheme": scheme}));
        let answer = gateway.ask_as(&token, "fetch", &body).await;
        assert_eq!(answer.status, 200, "{answer}");
    }

    // Secrets that are replaced by another, by half of one, and by what cannot be one.
    gateway.write("signing", "Another key for signatures +4\n");
    gateway.write("front", "Key for the\nfront door +5\n");
    gateway.write("pair.pem", &pair.key_pem);
    gateway.write("key", "x".repeat(100_000) + "Key for the upstream +6");
    for parts in [
        ["credentials.signing", "the secret was replaced"],
        ["headers.front", "cannot stand in a header"],
        ["credentials.pair", "no certificate"],
        ["credentials.key", "65536 bytes"],
    ] {
        gateway.log_line(&parts).await;
    }

    // Bodies that are no requests.
    for body in [
        r#"{"instance-id": "i", "project-id": "p", "metadata": "Metadata of the tenant"}"#,
        r#"{"instance-id": "i", "project-id": "p", "boot-roles": {"Metadata of the tenant": 1}}"#,
        r#"{"instance-id": "i", "project-id": "p", "metadata": {"a": ["Metadata of the tenant"]}}"#,
        r#"{"instance-id": "i", "project-id": "p", "user-data": {"a": "User data of the tenant"}}"#,
        r#"{"instance-id": "i", "project-id": "p", "user-data": "User data of the tenant"}"#,
        r#""Metadata of the tenant""#,
        "Metadata of the tenant",
    ] {
        let request = gateway.request(Method::POST, "/v1/echo");
        answers.push(Answer::to(request.header("X-Auth-Token", &token).body(body)).await);
    }

    // A token that the operator made, and one that he did not.
    let echoed = gateway
        .ask_as(&static_token, "west/echo", &enrolling("web"))
        .await;
    assert_eq!(echoed.at("/instance/user_data"), "User data of the tenant");
    let almost = format!("{static_token}x");
    answers.push(
        gateway
            .ask_as(&almost, "west/echo", &enrolling("web"))
            .await,
    );

    // Tokens that are refused, and a keystone that repeats them, fails, or has dropped the gateway's own.
    let member = keystone.issue("plain", "demo", &["member"], hour);
    answers.push(gateway.ask_as(&member, "echo", &enrolling("web")).await);
    answers.push(
        gateway
            .ask_as("gAAAAABtoken-of-nobody", "echo", &enrolling("web"))
            .await,
    );
    keystone.revoke_all_of("vendordock");
    let renewing = keystone.issue("nova", "service", &["service"], hour);
    assert_eq!(
        gateway
            .ask_as(&renewing, "echo", &enrolling("db"))
            .await
            .status,
        200
    );
    keystone.faults().respond_with(500);
    answers.push(
        gateway
            .ask_as("gAAAAABtoken-for-later", "echo", &enrolling("web"))
            .await,
    );
    keystone.stop().await;
    answers.push(
        gateway
            .ask_as("gAAAAABtoken-for-never", "echo", &enrolling("web"))
            .await,
    );

    let errors = answers.iter().filter(|answer| answer.status >= 400);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    assert_eq!(errors.len(), 16, "{errors:#?}");
    let metrics = gateway.ask_admin(Method::GET, "/metrics", "").await.body;
    assert!(metrics.contains("vendordock_requests_total"), "{metrics}");
    Said {
        log: gateway.written().await + "\n" + &metrics,
        errors: errors.join("\n"),
        secrets: vec![
            // All of the stand-in's tokens begin like this: nova's, the gateway's own, and the made-up ones.
            ("a token", "gAAAAAB".to_owned()),
            ("a static token", static_token),
            ("keystone's password", "Gateway password &1".to_owned()),
            ("IPA's password", Ipa::PASSWORD.to_owned()),
            ("IPA's session", "MagBearerToken".to_owned()),
            ("a one-time password", one_time),
            ("user data", "User data of the tenant".to_owned()),
            ("metadata", "Metadata of the tenant".to_owned()),
            ("a credential", "Key for the upstream +1".to_owned()),
            ("a key for signatures", "Key for signatures +2".to_owned()),
            ("a new one", "Another key for signatures +4".to_owned()),
            ("a header", "Key for the front door +3".to_owned()),
            ("half of a header", "front door +5".to_owned()),
            (
                "a secret that is too long",
                "Key for the upstream +6".to_owned(),
            ),
            ("a client's key", middle_line(&pair.key_pem)),
            ("a cookie", "CookieOfTheUpstream".to_owned()),
            ("an upstream's answer", "Answer of the upstream".to_owned()),
            ("a plugin's panic", "Secret that a plugin holds".to_owned()),
            ("a plugin's answer", "Answer of a plugin".to_owned()),
        ],
    }
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_log_for_people_or_in_an_error() {
    let said = everything("human").await;

    assert!(said.log.contains("TRACE"), "the filter is on");
    assert_eq!(said.found(), []);
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_log_for_machines_or_in_an_error() {
    let said = everything("json").await;

    assert!(said.log.contains(r#""level":"TRACE""#), "the filter is on");
    assert_eq!(said.found(), []);
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secret = "Secret 123 & more=%";
    for line in [
        "user=me password=Secret 123 & more=%",
        "password=Secret+123+%26+more%3D%25",
        "password=Secret%20123%20%26%20more%3D%25",
        "bytes: [83, 101, 99, 114, 101, 116, 32, 49, 50, 51, 32, 38, 32, 109, 111, 114, 101, 61, 37, 10]",
        "U2VjcmV0IDEyMyAmIG1vcmU9JQ==",
    ] {
        assert!(
            forms(secret).iter().any(|form| line.contains(form)),
            "{line}"
        );
    }
}
