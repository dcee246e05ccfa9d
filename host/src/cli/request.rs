//! `vendordock request TARGET`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use url::Url;

use crate::compose::explain::explain;
use crate::trust;

/// Send a request as nova would, and show the answer
///
/// The answer's body goes to standard output, its status, request id and time to standard error. Exit code 0 for a
/// status below 400, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vendordock request join --hostname web --metadata ipa_enroll=true --token \"$(openstack token issue -f value -c id)\"
  vendordock request join --file body.json      a recorded body, as it is
  vendordock request cloud-init --explain       what cloud-init in the guest would do with it")]
pub(super) struct Request {
    /// The target's name
    target: String,
    /// The cloud whose nova it would be, where several have a name
    #[arg(long, value_name = "NAME")]
    cloud: Option<String>,
    /// Where the gateway listens
    #[arg(long, env = "VENDORDOCK_URL", default_value = "http://127.0.0.1:9090")]
    url: Url,
    /// A keystone token; better in the variable, since arguments are visible to all on this machine
    #[arg(long, env = "VENDORDOCK_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Trust this authority's certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Send this file as the body; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["instance_id", "project_id", "image_id", "hostname", "metadata", "boot_roles", "user_data"])]
    file: Option<PathBuf>,
    /// The instance's UUID
    #[arg(long, default_value = "00000000-0000-4000-8000-000000000001")]
    instance_id: String,
    /// The project's id
    #[arg(long, default_value = "00000000000040008000000000000002")]
    project_id: String,
    /// The image's UUID; empty for an instance that boots from a volume
    #[arg(long, default_value = "")]
    image_id: String,
    /// The short host name
    #[arg(long, default_value = "instance")]
    hostname: String,
    /// A pair of the instance's metadata; repeat for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Names of roles, joined by commas
    #[arg(long, default_value = "member,reader")]
    boot_roles: String,
    /// A file with user data
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Tell what cloud-init in the guest would do with the answer, and what it would ignore, in place of showing it
    #[arg(long)]
    explain: bool,
    /// How long to wait in milliseconds; nova waits 5 seconds
    #[arg(long, default_value_t = 5_000)]
    timeout_ms: u64,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Request {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.send())
    }

    async fn send(self) -> anyhow::Result<ExitCode> {
        let body = self.body()?;
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .push("v1")
                .extend(&self.cloud)
                .push(&self.target);
        } else {
            bail!("--url {} is not the address of a gateway", self.url);
        }
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_millis(self.timeout_ms));
        if let Some(path) = &self.ca_file {
            client = client.tls_certs_only(trust::authorities(path)?);
        }
        // What nova sends, as far as it matters.
        let mut request = client
            .build()?
            .post(url)
            .header("User-Agent", "openstack-nova-vendordata")
            .header("Accept", "application/json")
            .header("Content-Type", "application/json")
            .body(body);
        if let Some(token) = &self.token {
            request = request.header("X-Auth-Token", token);
        }
        let started = Instant::now();
        let response = request.send().await?;
        let status = response.status();
        let id = response
            .headers()
            .get("x-openstack-request-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or("none")
            .to_owned();
        let nothing = response
            .headers()
            .get("x-vendordock-failure")
            .and_then(|fault| fault.to_str().ok())
            .map(str::to_owned);
        let text = response.text().await?;
        let time = started.elapsed();
        eprintln!(
            "{status}, {:.1} ms, request id {id}",
            time.as_secs_f64() * 1_000.0
        );
        if let Some(fault) = nothing {
            eprintln!(
                "with nothing in it, because of a failure (fault: {fault}): the gateway's log has the reason"
            );
        }
        let failed = status.is_client_error() || status.is_server_error();
        if self.explain && !failed {
            print!("{}", explain(&self.target, &text));
            return Ok(ExitCode::SUCCESS);
        }
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) => println!("{json:#}"),
            Err(_not_json) => println!("{text}"),
        }
        Ok(ExitCode::from(u8::from(failed)))
    }

    fn body(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(path) = &self.file {
            return if path.as_os_str() == "-" {
                let mut body = Vec::new();
                std::io::Read::read_to_end(&mut std::io::stdin(), &mut body)?;
                Ok(body)
            } else {
                std::fs::read(path).with_context(|| path.display().to_string())
            };
        }
        let user_data = match &self.user_data {
            Some(path) => {
                let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
                Some(BASE64_STANDARD.encode(bytes))
            }
            None => None,
        };
        let metadata: serde_json::Map<String, serde_json::Value> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        Ok(serde_json::to_vec(&json!({
            "project-id": self.project_id,
            "instance-id": self.instance_id,
            "image-id": self.image_id,
            "user-data": user_data,
            "hostname": self.hostname,
            "metadata": metadata,
            "boot-roles": self.boot_roles,
        }))?)
    }
}
