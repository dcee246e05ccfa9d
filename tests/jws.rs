//! Signed tokens, checked by keystone's public keys: as a filter before keystone is asked, and in its place.
//!
//! A real keystone signs, but for what it never would: forgeries, and tokens that last for seconds.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::callers;
use crate::gateway::{Answer, Gateway, instance};
use crate::openstack::Keystone;
use crate::program::{Directory, PATIENCE};

/// One of the tests rotates its keys: the directory holds those of all tokens.
pub(crate) static KEYSTONE: LazyLock<Keystone> = LazyLock::new(Keystone::start_jws);

const REFUSED: &str = r#"401 {"error":{"code":401,"message":"the token is invalid or expired","title":"Unauthorized"}}"#;
const NOT_ACCEPTED: &str =
    "the token is good, but this target does not accept its user, roles and project";

fn jws(mode: &str, public_keys: &Path) -> String {
    format!(
        r#"
        [keystone.jws]
        mode = "{mode}"
        public_keys = "{}"
        algorithms = ["ES256"]
        [targets.echo]
        component = "echo.wasm"
        timeout_ms = 15000
        "#,
        public_keys.display()
    )
}

/// A gateway that asks keystone about each token whose signature is good.
async fn filter(public_keys: &Path) -> Gateway {
    let own = KEYSTONE.account("vendordock", "service");
    let configuration = format!(
        r#"
        [keystone]
        auth_url = "{}"
        timeout_ms = 15000
        username = "{}"
        password = {{ file = "password" }}
        {}
        "#,
        own.auth_url,
        own.username,
        jws("filter", public_keys)
    );
    let directory = Directory::new().with("password", own.password);
    Gateway::serve(directory, &configuration).await
}

/// A gateway that knows of no keystone.
async fn only(public_keys: &Path, accept: &str) -> Gateway {
    let configuration = format!(
        "[keystone]\naccept = {accept}\n{}",
        jws("only", public_keys)
    );
    Gateway::start(&configuration).await
}

async fn ask(gateway: &Gateway, token: &str) -> Answer {
    gateway.ask_as(token, "echo", &instance(json!({}))).await
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    ask(gateway, token).await.status
}

/// What keystone wrote into a token.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    let payload = BASE64.decode(payload).expect("in base64");
    serde_json::from_slice(&payload).expect("JSON")
}

fn user_id(token: &str) -> String {
    let claims = claims(token);
    claims["sub"].as_str().expect("an id").to_owned()
}

/// A key pair in keystone's place.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate().expect("the system has randomness"))
    }

    /// A directory with the public key.
    fn public_keys(&self) -> Directory {
        Directory::new().with("public.pem", self.0.public_key_pem())
    }

    fn sign(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(&self.0.serialize_der());
        signed(&json!({"alg": "ES256", "typ": "JWT"}), claims, |message| {
            crypto::sign(message.as_bytes(), &key, Algorithm::ES256).expect("a key for ES256")
        })
    }

    /// What somebody may try who has the public key and a good token.
    fn forgeries(&self) -> Vec<(&'static str, String)> {
        let good = self.sign(&lasting(3600));
        let (message, signature) = good.rsplit_once('.').expect("three parts");
        let (header, _) = message.split_once('.').expect("three parts");
        let mut admins = lasting(3600);
        admins["sub"] = json!("admin");
        let admins = BASE64.encode(admins.to_string());
        let mut altered = BASE64.decode(signature).expect("base64");
        altered[0] ^= 1;
        let none = json!({"alg": "none", "typ": "JWT"});
        let hmac = json!({"alg": "HS256", "typ": "JWT"});
        let secret = EncodingKey::from_secret(self.0.public_key_pem().as_bytes());
        vec![
            ("another's claims", format!("{header}.{admins}.{signature}")),
            (
                "another signature",
                format!("{message}.{}", BASE64.encode(altered)),
            ),
            ("another key's", Self::new().sign(&lasting(3600))),
            ("no signature", format!("{message}.")),
            (
                "alg none",
                signed(&none, &lasting(3600), |_message| String::new()),
            ),
            (
                "the public key as a secret",
                signed(&hmac, &lasting(3600), |message| {
                    crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).expect("a secret")
                }),
            ),
            ("an expired one", self.sign(&lasting(-1))),
            ("one without end", self.sign(&json!({"sub": "nova"}))),
            (
                "a fernet token's look",
                "gAAAAAB".to_owned() + &"x".repeat(176),
            ),
        ]
    }
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&str) -> String) -> String {
    let encode = |part: &Value| BASE64.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(&message);
    format!("{message}.{signature}")
}

/// The claims of user `nova`.
fn lasting(seconds: i64) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("it is past 1970").as_secs().cast_signed();
    json!({
        "sub": "nova",
        "iat": now,
        "exp": now + seconds,
        "openstack_methods": ["password"],
        "openstack_audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
        "openstack_project_id": "service",
    })
}

#[tokio::test]
async fn behind_the_filter_a_real_keystone_still_tells_roles_and_what_was_revoked() {
    let gateway = filter(KEYSTONE.public_keys()).await;
    let revoked = KEYSTONE.token("nova", "service");
    KEYSTONE.revoke(&revoked);
    let plain = KEYSTONE.token("plain", "service");
    let mut altered = KEYSTONE.token("nova", "service").into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("ASCII");

    let novas = status(&gateway, &KEYSTONE.token("nova", "service")).await;
    let plains = ask(&gateway, &plain).await;

    assert_eq!((novas, plains.status), (200, 403));
    assert_eq!(plains.at("/error/message"), NOT_ACCEPTED);
    for token in [&*revoked, &altered, "gAAAAABgarbage"] {
        assert_eq!(ask(&gateway, token).await.to_string(), REFUSED);
    }
}

#[tokio::test]
async fn keystone_hears_nothing_of_a_token_whose_signature_is_not_good() {
    let signer = Signer::new();
    let public_keys = signer.public_keys();
    let keystone = callers::keystone().await;
    let path = public_keys.path("");
    let more = format!(
        r#"jws = {{ mode = "filter", public_keys = "{}" }}"#,
        path.display()
    );
    let gateway = callers::gateway(&keystone, &more).await;

    for (what, token) in signer.forgeries() {
        assert_eq!(ask(&gateway, &token).await.to_string(), REFUSED, "{what}");
    }
    assert_eq!(keystone.validations(), 0);

    // Which this keystone has not issued, and is asked about.
    let unknown = ask(&gateway, &signer.sign(&lasting(3600))).await;
    assert_eq!(unknown.to_string(), REFUSED);
    assert_eq!(keystone.validations(), 1);
}

#[tokio::test]
async fn while_keystones_keys_are_rotated_no_token_is_refused_until_its_key_is_removed() {
    let copied = Directory::new();
    let copy = |file: &str| {
        fs::copy(KEYSTONE.public_keys().join(file), copied.path(file)).expect("both are there");
    };
    copy("public.pem");
    let gateway = filter(&copied.path("")).await;
    let old = KEYSTONE.token("nova", "service");
    assert_eq!(status(&gateway, &old).await, 200);

    KEYSTONE.rotate("second.pem");
    copy("second.pem");
    let new = KEYSTONE.token("nova", "service");
    assert_eq!(status(&gateway, &new).await, 200, "at once");
    assert_eq!(status(&gateway, &old).await, 200);

    fs::remove_file(copied.path("public.pem")).expect("it is there");
    let removed = Instant::now();
    while status(&gateway, &old).await != 401 {
        assert!(removed.elapsed() < PATIENCE, "the old key stays good");
    }
    assert_eq!(status(&gateway, &new).await, 200);
}

#[tokio::test]
async fn without_any_keystone_those_who_are_listed_are_let_in_where_they_are_listed() {
    let plain = KEYSTONE.token("plain", "service");
    let accept = format!(
        r#"{{ users = [{{ id = "{}" }}], projects = [{{ id = "{}" }}] }}"#,
        user_id(&plain),
        KEYSTONE.project_id("service")
    );
    let gateway = only(KEYSTONE.public_keys(), &accept).await;

    assert_eq!(status(&gateway, &plain).await, 200);
    for (user, project) in [("nova", "service"), ("plain", "demo"), ("admin", "admin")] {
        let answer = ask(&gateway, &KEYSTONE.token(user, project)).await;
        assert_eq!(answer.status, 403, "{user} in {project}");
        assert_eq!(answer.at("/error/message"), NOT_ACCEPTED);
    }
}

/// What `only` gives up, as `docs/keystone-jws.md` says.
#[tokio::test]
async fn without_keystone_a_revoked_token_stays_good() {
    let token = KEYSTONE.token("nova", "service");
    let accept = format!(r#"{{ users = [{{ id = "{}" }}] }}"#, user_id(&token));
    let gateway = only(KEYSTONE.public_keys(), &accept).await;
    assert_eq!(status(&gateway, &token).await, 200);

    KEYSTONE.revoke(&token);

    assert_eq!(status(&gateway, &token).await, 200);
}

#[tokio::test]
async fn without_keystone_forgeries_are_refused_all_the_same() {
    let signer = Signer::new();
    let public_keys = signer.public_keys();
    let accept = r#"{ users = [{ id = "nova" }, { id = "admin" }] }"#;
    let gateway = only(&public_keys.path(""), accept).await;

    assert_eq!(status(&gateway, &signer.sign(&lasting(3600))).await, 200);
    for (what, token) in signer.forgeries() {
        assert_eq!(ask(&gateway, &token).await.to_string(), REFUSED, "{what}");
    }
}

#[tokio::test]
async fn without_keystone_a_token_is_not_believed_beyond_its_expiry() {
    let signer = Signer::new();
    let public_keys = signer.public_keys();
    let gateway = only(&public_keys.path(""), r#"{ users = [{ id = "nova" }] }"#).await;
    let life = Duration::from_secs(3);
    let issued = Instant::now();
    let token = signer.sign(&lasting(3));

    let mut answers = 0;
    let refusal = loop {
        let asked = issued.elapsed();
        let answer = ask(&gateway, &token).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(asked < life, "let in after {asked:?}");
        answers += 1;
    };

    assert_eq!(refusal.to_string(), REFUSED);
    assert!(answers > 1, "let in before");
}
