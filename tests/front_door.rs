//! nova's own client and a real keystone at the front door: TLS, certificates, the operator's own tokens, and the
//! gateway's account.

use serde_json::{Value, json};
use vendordock_stand_ins::Authority;

use crate::gateway::{Gateway, instance};
use crate::nova::{KEYSTONE, NOVA};
use crate::openstack::{Answer, Configuration, Instance, Keystone};
use crate::program::Directory;

const ECHO: &str = "[targets.echo]\ncomponent = \"echo.wasm\"\ntimeout_ms = 15000\n";

/// An instance, for which echo answers with its own name.
fn web() -> Instance<'static> {
    Instance {
        uuid: "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11",
        project_id: "039d104b7a5c4631b4ba6524d0b9e981",
        hostname: "web",
        ..Instance::default()
    }
}

/// Whether nova was answered.
fn answered(answer: &Answer) -> bool {
    let result = answer.result();
    match result.pointer("/echo/instance/hostname") {
        Some(name) => name == "web",
        None => {
            assert_eq!(result, &json!({"echo": {}}));
            false
        }
    }
}

/// A directory with the gateway's certificate, and the authority's in `ca.pem`.
fn with_certificate(authority: &Authority) -> Directory {
    let issued = authority.issue(&["127.0.0.1"]);
    Directory::new()
        .with("tls.crt", issued.certificate_pem)
        .with("tls.key", issued.key_pem)
        .with("ca.pem", authority.ca_pem())
        .with(
            "password",
            KEYSTONE.account("vendordock", "service").password,
        )
}

const TLS: &str = "[server.tls]\ncertificate_file = \"tls.crt\"\nkey_file = \"tls.key\"\n";

fn keystone() -> String {
    format!(
        "[keystone]\nauth_url = \"{}\"\ntimeout_ms = 15000\nusername = \"vendordock\"\npassword = {{ file = \"password\" }}\n",
        KEYSTONE.auth_url
    )
}

fn nova_account() -> Option<Value> {
    Some(KEYSTONE.account("nova", "service").section())
}

#[tokio::test]
async fn nova_asks_over_tls_when_it_trusts_the_gateways_authority() {
    let authority = Authority::new();
    let configuration = format!("{TLS}{}{ECHO}", keystone());
    let gateway = Gateway::serve(with_certificate(&authority), &configuration).await;
    let other = gateway.directory().path("other.pem");
    std::fs::write(&other, Authority::new().ca_pem()).expect("the directory is ours");
    let nova = NOVA.lock().await;
    let mut outcomes = Vec::new();

    for trusted in [gateway.directory().path("ca.pem"), other] {
        nova.configure(Configuration {
            targets: vec![format!("echo@https://{}/v1/echo", gateway.address)],
            auth: nova_account(),
            read_timeout: Some(20),
            ssl_certfile: Some(trusted),
            ..Configuration::default()
        })
        .await;
        outcomes.push(answered(&nova.get(&web()).await));
    }

    assert_eq!(outcomes, [true, false]);
}

#[tokio::test]
async fn nova_is_let_in_by_its_certificate_alone_or_together_with_its_token() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let directory = || with_certificate(&authority).with("clients.pem", clients.ca_pem());
    let tls = format!("{TLS}client_ca_file = \"clients.pem\"\n");
    let alone = format!(
        "{tls}[auth]\nrequire = \"client-certificate\"\nclient_certificate.names = [\"nova.example.test\"]\n{ECHO}"
    );
    let together = format!(
        "{tls}[auth]\nrequire = [\"client-certificate\", \"keystone\"]\nclient_certificate.subjects = [\"CN=nova\"]\n{}{ECHO}",
        keystone()
    );
    let nova = NOVA.lock().await;
    let mut outcomes = Vec::new();

    for (name, configuration) in [("alone", alone), ("together", together)] {
        let gateway = Gateway::serve(directory(), &configuration).await;
        for (whose, authority, subject, san) in [
            ("nova's", &clients, "nova", "nova.example.test"),
            ("another's", &clients, "other", "other.example.test"),
            ("a forged one", &authority, "nova", "nova.example.test"),
        ] {
            let issued = authority.issue_to(&[(&[2, 5, 4, 3], subject)], &[san]);
            gateway.write("nova.pem", issued.certificate_pem);
            gateway.write("nova.key", issued.key_pem);
            for auth in [nova_account(), None] {
                let token = if auth.is_some() { "token" } else { "no token" };
                nova.configure(Configuration {
                    targets: vec![format!("echo@https://{}/v1/echo", gateway.address)],
                    auth,
                    read_timeout: Some(20),
                    ssl_certfile: Some(gateway.directory().path("ca.pem")),
                    certfile: Some(gateway.directory().path("nova.pem")),
                    keyfile: Some(gateway.directory().path("nova.key")),
                    ..Configuration::default()
                })
                .await;
                if answered(&nova.get(&web()).await) {
                    outcomes.push(format!("{name}: {whose}, {token}"));
                }
            }
        }
    }

    assert_eq!(
        outcomes,
        [
            "alone: nova's, token",
            "alone: nova's, no token",
            "together: nova's, token"
        ]
    );
}

#[tokio::test]
async fn nova_is_let_in_by_a_token_that_the_operator_made() {
    let made = Directory::new().run(&["token"]);
    let gateway = Gateway::start(&format!(
        "[auth]\nrequire = \"static-token\"\n[auth.static_tokens]\n{}{ECHO}",
        made.stderr
    ))
    .await;
    let nova = NOVA.lock().await;
    let mut outcomes = Vec::new();

    for token in [made.stdout.trim(), "another"] {
        nova.configure(Configuration {
            targets: vec![format!("echo@http://{}/v1/echo", gateway.address)],
            auth: Some(json!({
                "auth_type": "admin_token", "endpoint": "http://127.0.0.1", "token": token
            })),
            ..Configuration::default()
        })
        .await;
        outcomes.push(answered(&nova.get(&web()).await));
    }

    assert_eq!(outcomes, [true, false]);
}

#[tokio::test]
async fn a_real_keystones_users_projects_and_roles_are_told_apart_for_each_target() {
    let configuration = format!(
        r#"{keystone}{ECHO}
        [targets.members]
        component = "echo.wasm"
        timeout_ms = 15000
        accept = {{ roles = ["member"], projects = [{{ id = "{demo}" }}] }}
        [targets.plain]
        component = "echo.wasm"
        timeout_ms = 15000
        accept = {{ roles = ["member"], users = [{{ name = "plain" }}] }}
        "#,
        keystone = keystone(),
        demo = KEYSTONE.project_id("demo"),
    );
    let directory = with_certificate(&Authority::new());
    let gateway = Gateway::serve(directory, &configuration).await;
    let mut let_in = Vec::new();

    for (user, project) in [
        ("nova", "service"),
        ("plain", "service"),
        ("plain", "demo"),
        ("adminother", "demo"),
    ] {
        let token = KEYSTONE.token(user, project);
        for target in ["echo", "members", "plain"] {
            let answer = gateway.ask_as(&token, target, &instance(json!({}))).await;
            if answer.status == 200 {
                let_in.push(format!("{user} of {project} at {target}"));
            }
        }
    }

    // An admin's token shows the role `member` as well.
    assert_eq!(
        let_in,
        [
            "nova of service at echo",
            "plain of service at plain",
            "plain of demo at members",
            "adminother of demo at members",
        ]
    );
}

#[tokio::test]
async fn two_real_clouds_do_not_know_each_others_tokens() {
    let (fernet, jws) = (&*KEYSTONE, &*crate::jws::KEYSTONE);
    let cloud = |name: &str, keystone: &Keystone| {
        let own = keystone.account("vendordock", "service");
        format!(
            "[clouds.{name}.keystone]\nauth_url = \"{}\"\ntimeout_ms = 15000\nusername = \"vendordock\"\n\
             password = {{ file = \"{name}\" }}\n",
            own.auth_url
        )
    };
    let configuration = format!(
        "{}{}{ECHO}clouds = [\"east\", \"west\"]\n",
        cloud("east", fernet),
        cloud("west", jws)
    );
    let password = |keystone: &Keystone| keystone.account("vendordock", "service").password;
    let directory = Directory::new()
        .with("east", password(fernet))
        .with("west", password(jws));
    let gateway = Gateway::serve(directory, &configuration).await;
    let mut statuses = Vec::new();

    for keystone in [fernet, jws] {
        let token = keystone.token("nova", "service");
        for path in ["east/echo", "west/echo"] {
            let answer = gateway.ask_as(&token, path, &instance(json!({}))).await;
            statuses.push(answer.status);
        }
    }

    assert_eq!(statuses, [200, 401, 401, 200]);
}

#[tokio::test]
async fn the_gateway_can_log_in_by_an_application_credential() {
    let (id, secret) = application_credential("for-the-gateway").await;
    let by_id = format!("application_credential_id = \"{id}\"");
    let by_name =
        "application_credential_name = \"for-the-gateway\"\nusername = \"vendordock\"".to_owned();
    let mut statuses = Vec::new();

    for (keys, secret) in [(&by_id, &*secret), (&by_name, &secret), (&by_id, "wrong")] {
        let configuration = format!(
            "[keystone]\nauth_url = \"{}\"\ntimeout_ms = 15000\n{keys}\napplication_credential_secret = {{ file = \"secret\" }}\n{ECHO}",
            KEYSTONE.auth_url
        );
        let directory = Directory::new().with("secret", secret);
        let gateway = Gateway::serve(directory, &configuration).await;
        let token = KEYSTONE.token("nova", "service");
        let answer = gateway.ask_as(&token, "echo", &instance(json!({}))).await;
        statuses.push(answer.status);
    }

    assert_eq!(statuses, [200, 200, 503]);
}

/// Has keystone make one for the gateway's account: its id and its secret.
async fn application_credential(name: &str) -> (String, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("the provider is installed");
    let token = KEYSTONE.token("vendordock", "service");
    let ask = async |request: reqwest::RequestBuilder| -> Value {
        let answer = request.header("X-Auth-Token", &token).send().await;
        let answer = answer.expect("keystone answers");
        answer.json().await.expect("keystone answers in JSON")
    };
    let tokens = format!("{}/auth/tokens", KEYSTONE.auth_url);
    let own = ask(client.get(tokens).header("X-Subject-Token", &token)).await;
    let user_id = own["token"]["user"]["id"].as_str().expect("it is valid");
    let made = ask(client
        .post(format!(
            "{}/users/{user_id}/application_credentials",
            KEYSTONE.auth_url
        ))
        .json(&json!({"application_credential": {"name": name}})))
    .await;
    let text = |key: &str| {
        let value = made["application_credential"][key].as_str();
        value.unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    (text("id"), text("secret"))
}
