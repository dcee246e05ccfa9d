//! Secrets on the wire: put there by the gateway, for a plugin that never sees them.

use serde_json::{Value, json};
use vendordock_stand_ins::{Authority, Guarded};

use crate::egress::{fetched, gateway};
use crate::gateway::{Gateway, instance};
use crate::program::Directory;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_credential_goes_on_the_wire_as_asked_and_the_plugin_does_not_see_it() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let mut seen = Vec::new();

    for (scheme, header) in [
        ("bearer", "authorization"),
        ("basic:alice", "authorization"),
        ("header:x-key", "x-key"),
        ("form-field:password", "content-type"),
    ] {
        let metadata = json!({
            "url": upstream.url(),
            "method": "POST",
            "body": "user=alice",
            "credential": "key",
            "scheme": scheme,
        });
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            let (_, body) = waiting.request.split_once("\r\n\r\n").expect("a request");
            seen.push(format!("{scheme}: {} / {body}", waiting.header(header)));
            waiting.answer("200 OK", &["Date: today"], "welcome").await;
        });
        assert_eq!(
            report,
            json!({
                "status": 200,
                "headers": [["connection", "close"], ["content-length", "7"], ["date", "today"]],
                "body": "welcome",
            })
        );
    }

    insta::assert_snapshot!(seen.join("\n"), @r#"
    bearer: Bearer s3cret & more / user=alice
    basic:alice: Basic YWxpY2U6czNjcmV0ICYgbW9yZQ== / user=alice
    header:x-key: s3cret & more / user=alice
    form-field:password: application/x-www-form-urlencoded / user=alice&password=s3cret+%26+more
    "#);
}

#[tokio::test]
async fn a_credential_goes_to_its_own_origins_only() {
    let (own, other) = (Upstream::start().await, Upstream::start().await);
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{own}", networks = ["127.0.0.0/8"] }},
            {{ to = "{other}", networks = ["127.0.0.0/8"] }},
        ]
        [targets.fetch.credentials.key]
        secret = {{ file = "key" }}
        origins = ["{own}"]
        "#,
        own = own.url(),
        other = other.url(),
    );
    let gateway = Gateway::serve(Directory::new().with("key", "s3cret"), &configuration).await;

    let report = fetched(&gateway, json!({"url": other.url(), "credential": "key"})).await;
    let unknown = fetched(&gateway, json!({"url": own.url(), "credential": "lock"})).await;

    let what = format!("credential `key` at {}", other.url());
    let denied = format!(r#"HttpError::Denied("{what} is not granted to this target")"#);
    assert_eq!(report, json!({"error": denied}));
    assert_eq!(
        unknown,
        json!({"credential_error": "CredentialError::NotGranted"})
    );
    let (_, ()) = tokio::join!(fetched(&gateway, json!({"url": other.url()})), async {
        let first = other.next().await;
        assert_eq!(first.header("authorization"), "");
        first.answer("200 OK", &[], "").await;
    });
}

#[tokio::test]
async fn cookies_of_a_log_in_stay_in_the_gateway_and_go_back_with_the_session_only() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;
    let mut cookies = Vec::new();

    for (credential, scheme) in [
        (Some("key"), "session"),
        (Some("key"), "form-field:password"),
        (Some("key"), "session"),
        (None, ""),
    ] {
        let mut metadata = json!({"url": upstream.url(), "method": "POST", "scheme": scheme});
        if let Some(credential) = credential {
            metadata["credential"] = json!(credential);
        }
        let (report, ()) = tokio::join!(fetched(&gateway, metadata), async {
            let waiting = upstream.next().await;
            cookies.push(waiting.header("cookie").to_owned());
            let set = format!("Set-Cookie: id=from-{}; Path=/", cookies.len());
            waiting.answer("200 OK", &[&set], "").await;
        });
        let headers = report["headers"].to_string();
        assert_eq!(
            headers.contains("set-cookie"),
            credential.is_none(),
            "{headers}"
        );
    }

    assert_eq!(cookies, ["", "id=from-1", "id=from-2", ""]);
}

#[tokio::test]
async fn a_plugin_cannot_set_the_headers_that_say_who_and_whereto() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream).await;

    for header in [
        "Host: evil.test",
        "Cookie: id=1",
        "Authorization: Bearer x",
        "Content-Length: 0",
    ] {
        let report = fetched(&gateway, json!({"url": upstream.url(), "header": header})).await;
        let name = header.split(':').next().expect("a name").to_lowercase();
        let invalid =
            format!(r#"HttpError::InvalidRequest("the header `{name}` is the gateway's to set")"#);
        assert_eq!(report, json!({"error": invalid}));
    }
}

#[tokio::test]
async fn each_scheme_opens_an_upstream_that_is_strict_about_it() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let plain = Guarded::start().await;
    let tls = Guarded::start_tls(&servers, Some(&clients)).await;
    let pair = clients.issue(&["gateway"]);
    plain.know(&["p&ss word"]);
    tls.know_certificates(&[&pair]);
    let configuration = format!(
        r#"
        auth.require = "none"
        [targets.fetch]
        component = "fetch.wasm"
        egress = [
            {{ to = "{plain}", networks = ["127.0.0.0/8"] }},
            {{ to = "{tls}", networks = ["127.0.0.0/8"] }},
        ]
        ca_file = "ca.pem"
        [targets.fetch.credentials.right]
        secret = {{ file = "right" }}
        origins = ["{plain}"]
        [targets.fetch.credentials.wrong]
        secret = {{ file = "wrong" }}
        origins = ["{plain}"]
        [targets.fetch.credentials.pair]
        secret = {{ file = "pair.pem" }}
        origins = ["{tls}"]
        schemes = ["client-certificate"]
        "#,
        plain = plain.url(),
        tls = tls.url(),
    );
    let directory = Directory::new()
        .with("ca.pem", servers.ca_pem())
        .with("pair.pem", pair.certificate_pem + &pair.key_pem)
        .with("right", "p&ss word\n")
        .with("wrong", "password\n");
    let gateway = Gateway::serve(directory, &configuration).await;
    let mut told = Vec::new();

    for (url, path, scheme, credentials) in [
        (plain.url(), "bearer", "bearer", &["right", "wrong"][..]),
        (plain.url(), "basic", "basic:alice", &["right", "wrong"]),
        (plain.url(), "basic", "basic:bob", &["right"]),
        (
            plain.url(),
            "header",
            "header:X-Api-Key",
            &["right", "wrong"],
        ),
        (plain.url(), "session", "session", &["right"]),
        (
            plain.url(),
            "log-in",
            "form-field:password",
            &["wrong", "right"],
        ),
        (plain.url(), "session", "session", &["wrong", "right"]),
        (tls.url(), "certificate", "client-certificate", &["pair"]),
        (plain.url(), "certificate", "client-certificate", &["right"]),
        (
            plain.url(),
            "basic",
            "negotiate:HTTP@ipa.example.test",
            &["right"],
        ),
    ] {
        for credential in credentials {
            let mut metadata = json!({
                "url": format!("{url}/{path}"),
                "credential": credential,
                "scheme": scheme,
            });
            if path == "log-in" {
                metadata["method"] = json!("POST");
                metadata["body"] = json!("user=alice");
            }
            let report = fetched(&gateway, metadata).await;
            let outcome = report.get("status").unwrap_or(&report["error"]);
            told.push(format!("{credential} by {scheme}: {outcome}"));
        }
    }

    insta::assert_snapshot!(told.join("\n"), @r#"
    right by bearer: 200
    wrong by bearer: 401
    right by basic:alice: 200
    wrong by basic:alice: 401
    right by basic:bob: 401
    right by header:X-Api-Key: 200
    wrong by header:X-Api-Key: 401
    right by session: 401
    wrong by form-field:password: 401
    right by form-field:password: 200
    wrong by session: 401
    right by session: 200
    pair by client-certificate: 200
    right by client-certificate: "HttpError::Credential(\"a client's certificate is shown in TLS, and the URL is not https\")"
    right by negotiate:HTTP@ipa.example.test: "HttpError::Credential(\"this gateway has no such scheme yet\")"
    "#);
}

/// Digest, key and data in hexadecimal digits, and the HMAC.
fn published_vectors() -> Vec<(&'static str, String, String, &'static str)> {
    let text = |text: &str| {
        text.bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let counted: String = (1..=25).map(|byte| format!("{byte:02x}")).collect();
    let first = "Test Using Larger Than Block-Size Key - Hash Key First";
    let one_block = "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
    let longer = "This is a test using a larger than block-size key and a larger than block-size data. The \
                  key needs to be hashed before being used by the HMAC algorithm.";
    let what = "what do ya want for nothing?";
    vec![
        // RFC 2202.
        (
            "sha1",
            "0b".repeat(20),
            text("Hi There"),
            "b617318655057264e28bc0b6fb378c8ef146be00",
        ),
        (
            "sha1",
            text("Jefe"),
            text(what),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (
            "sha1",
            "aa".repeat(20),
            "dd".repeat(50),
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
        ),
        (
            "sha1",
            counted.clone(),
            "cd".repeat(50),
            "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
        ),
        (
            "sha1",
            "aa".repeat(80),
            text(first),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        (
            "sha1",
            "aa".repeat(80),
            text(one_block),
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ),
        // RFC 4231.
        (
            "sha256",
            "0b".repeat(20),
            text("Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "sha256",
            text("Jefe"),
            text(what),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "sha256",
            "aa".repeat(20),
            "dd".repeat(50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            "sha256",
            counted.clone(),
            "cd".repeat(50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            "sha256",
            "aa".repeat(131),
            text(first),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            "sha256",
            "aa".repeat(131),
            text(longer),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
        (
            "sha512",
            "0b".repeat(20),
            text("Hi There"),
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (
            "sha512",
            text("Jefe"),
            text(what),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        (
            "sha512",
            "aa".repeat(20),
            "dd".repeat(50),
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ),
        (
            "sha512",
            counted,
            "cd".repeat(50),
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ),
        (
            "sha512",
            "aa".repeat(131),
            text(first),
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
        (
            "sha512",
            "aa".repeat(131),
            text(longer),
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ),
    ]
}

#[tokio::test]
async fn a_plugin_signs_as_the_published_test_vectors_say_with_keys_it_does_not_see() {
    let mut directory = Directory::new();
    let mut configuration =
        "auth.require = \"none\"\ntargets.fetch.component = \"fetch.wasm\"\n".to_owned();
    let vectors = published_vectors();
    for (number, (_, key, _, _)) in vectors.iter().enumerate() {
        let bytes = (0..key.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&key[at..at + 2], 16));
        let bytes: Result<Vec<u8>, _> = bytes.collect();
        directory = directory.with(&format!("key{number}"), bytes.expect("digits"));
        configuration += &format!(
            "[targets.fetch.credentials.key{number}]\nsecret = {{ file = \"key{number}\" }}\nhmac = true\n"
        );
    }
    let gateway = Gateway::serve(directory, &configuration).await;

    for (number, (digest, _, data, hmac)) in vectors.iter().enumerate() {
        let metadata = json!({
            "credential": format!("key{number}"),
            "use": format!("hmac:{digest}"),
            "data": data,
        });
        let used = fetched(&gateway, metadata).await;
        assert_eq!(used, json!({"used": hmac}), "{number}");
    }
}

#[tokio::test]
async fn signing_and_showing_are_refused_unless_granted_and_showing_is_audited() {
    let upstream = Upstream::start().await;
    let configuration = format!(
        r#"
        auth.require = "none"
        # The spans of a request are not in it.
        log = {{ format = "json", filter = "warn,vendordock::audit=info" }}
        [targets.fetch]
        component = "fetch.wasm"
        egress = [{{ to = "{upstream}", networks = ["127.0.0.0/8"] }}]
        [targets.fetch.credentials.sent]
        secret = {{ file = "key" }}
        origins = ["{upstream}"]
        [targets.fetch.credentials.signs]
        secret = {{ file = "key" }}
        hmac = true
        [targets.fetch.credentials.shown]
        secret = {{ file = "key" }}
        reveal = true
        "#,
        upstream = upstream.url()
    );
    let gateway = Gateway::serve(Directory::new().with("key", "s3cret\n"), &configuration).await;
    let used = async |credential: &str, what: &str| {
        let body = instance(json!({"credential": credential, "use": what}));
        let answer = gateway.ask("fetch", &body).await;
        (answer.at(""), answer.request_id().to_owned())
    };
    let error = |error: &str| json!({"credential_error": format!("CredentialError::{error}")});

    let (shown, request_id) = used("shown", "reveal").await;
    let (signed, _) = used("signs", "hmac:sha1").await;
    let sent = json!({"url": upstream.url(), "credential": "signs"});
    let sent = fetched(&gateway, sent).await;

    assert_eq!(shown, json!({"used": "733363726574"}));
    assert!(signed["used"].is_string(), "{signed}");
    for credential in ["sent", "shown"] {
        assert_eq!(used(credential, "hmac:sha1").await.0, error("NotGranted"));
    }
    for credential in ["sent", "signs"] {
        assert_eq!(used(credential, "reveal").await.0, error("Opaque"));
    }
    let denied = format!(
        "credential `signs` at {} is not granted to this target",
        upstream.url()
    );
    assert_eq!(
        sent,
        json!({"error": format!("HttpError::Denied({denied:?})")})
    );
    let log = gateway.written().await;
    let audited: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["target"] == "vendordock::audit")
        .collect();
    let [line] = &audited[..] else {
        panic!("{audited:#?}");
    };
    assert_eq!(
        [
            &line["message"],
            &line["request.id"],
            &line["vendordata.cloud"],
            &line["vendordata.target"],
            &line["credential"],
        ],
        [
            "showed a secret to the plugin",
            &request_id,
            "default",
            "fetch",
            "shown"
        ]
    );
    assert!(
        !log.contains("s3cret") && !log.contains("733363726574"),
        "{log}"
    );
    assert!(
        log.contains("`hmac = true`") && log.contains("`reveal = true`"),
        "{log}"
    );
}
