//! `cargo xtask demo`: the gateway at work, on this machine and nothing else.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::gateway::Site;
use crate::{build, plugins};

/// Starts a gateway with stand-in upstreams, and shows requests as nova sends them and their answers.
///
/// Builds all it needs first; the first time takes about ten minutes. Listens on free ports of loopback only, and
/// leaves nothing behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stay up afterwards, to try things by hand. Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let built = plugins::build(&["join".to_owned()])?;
    let program = build::gateway()?;
    crate::runtime()?.block_on(show(&program, &built.directory, args.keep))
}

async fn show(program: &Path, plugins: &Path, keep: bool) -> Result<()> {
    let site = Site::start().await?;
    let configuration = format!(
        r#"{base}
[targets.join]
component = {component:?}
egress = [{{ to = "{ipa}", networks = ["127.0.0.0/8"] }}]
ca_file = "ipa-ca.pem"

[targets.join.credentials.ipa]
secret = {{ file = "ipa-password" }}
origins = ["{ipa}"]

[targets.join.config]
domain = "example.test"
servers = ["{ipa}"]
user = "{user}"
"#,
        base = site.base_configuration(),
        component = plugins.join("join.wasm"),
        ipa = site.ipa.url(),
        user = vendordock_stand_ins::Ipa::USER,
    );
    println!("The configuration:\n\n{}", indented(&configuration));
    let gateway = site.serve(program, &configuration)?;
    let token = site.nova_token();
    let url = &gateway.url;
    println!(
        "The gateway listens on {url}; a stand-in FreeIPA and a stand-in keystone run beside it."
    );

    let enrolled = body(1, "web-1", json!({"ipa_enroll": "true"}));
    let scenes = [
        (
            "An instance that asks for enrolment: FreeIPA holds the same one-time password",
            "join",
            &token,
            enrolled.clone(),
        ),
        (
            "The same again, as nova asks six times for one config drive: the same answer, from the cache",
            "join",
            &token,
            enrolled.clone(),
        ),
        (
            "An instance that does not ask",
            "join",
            &token,
            body(2, "web-2", json!({})),
        ),
        (
            "A host name that FreeIPA could not hold",
            "join",
            &token,
            body(3, "not a name", json!({"ipa_enroll": "true"})),
        ),
        (
            "A token that keystone does not know",
            "join",
            &"gAAAAABnot-a-token".to_owned(),
            enrolled.clone(),
        ),
        ("A target that is not configured", "jion", &token, enrolled),
    ];
    for (number, (title, target, token, body)) in (1..).zip(scenes) {
        println!("\n{number}. {title}.");
        println!(
            "   POST {url}/v1/{target}\n{}",
            indented(&format!("{body:#}"))
        );
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("{url}/v1/{target}"))
            .header("X-Auth-Token", token)
            .header("User-Agent", "openstack-nova-vendordata")
            .json(&body)
            .send()
            .await
            .context("the gateway gave no answer")?;
        println!("   {}", response.status());
        println!(
            "{}",
            indented(&response.text().await.context("the answer broke off")?)
        );
    }
    println!(
        "\nFreeIPA holds for web-1.example.test: {}",
        site.ipa
            .otp("web-1.example.test")
            .unwrap_or_else(|| "nothing".to_owned())
    );
    println!(
        "\nWhat the gateway logged:\n\n{}",
        indented(&std::fs::read_to_string(&gateway.log)?)
    );
    println!("Where to go on: README.md, examples/vendordock.toml, and `vendordock --help`.");
    if keep {
        println!(
            "\nStill up. In another terminal:\n\n  VENDORDOCK_TOKEN={token} \\\n  {} request join --url {url} --hostname web-3 --metadata ipa_enroll=true\n\nThe files are in {}. Ctrl-C ends it.",
            program.display(),
            site.directory().display(),
        );
        tokio::signal::ctrl_c()
            .await
            .context("cannot wait for Ctrl-C")?;
    }
    Ok(())
}

/// What nova sends for an instance.
fn body(number: u32, hostname: &str, metadata: Value) -> Value {
    json!({
        "project-id": "7d1c5a2f6b0e4f0c9a490d5a2f7b0e11",
        "instance-id": format!("a2f1b6a4-6b0e-4f0c-9a49-{number:0>12}"),
        "image-id": "0b7c4a6e-5d0f-4b8e-9d8c-1f1d2c3b4a59",
        "user-data": null,
        "hostname": hostname,
        "metadata": metadata,
        "boot-roles": "member,reader",
    })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("     {line}\n")).collect()
}
