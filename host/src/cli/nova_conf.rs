//! `vendordock nova-conf`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use url::Url;

use super::ConfigFile;
use crate::config::{Cloud, CloudName, Config, Listener, Proof};

/// Print the lines for nova.conf that fit the configuration
///
/// They belong into nova.conf of every nova-compute (it builds config drives) and of nova-api-metadata.
#[derive(Debug, clap::Args)]
pub(super) struct NovaConf {
    #[command(flatten)]
    config: ConfigFile,
    /// The gateway's address as nova sees it; the one it listens on when absent
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The cloud whose nova it is for, where several have a name
    #[arg(long, value_name = "NAME", default_value = "default")]
    cloud: String,
}

impl NovaConf {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, _) = Config::load(&self.config.path)?;
        let known = || {
            let names: Vec<&str> = config.clouds.keys().map(CloudName::as_str).collect();
            names.join(", ")
        };
        let (name, cloud) = config.clouds.get_key_value(&*self.cloud).with_context(|| {
            format!(
                "--cloud: there is no cloud {:?}; known: {}",
                self.cloud,
                known()
            )
        })?;
        print!("{}", lines(&config, name, cloud, self.url.as_ref()));
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(config: &Config, name: &CloudName, cloud: &Cloud, url: Option<&Url>) -> String {
    let base = match url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => address(config),
    };
    let path = match name {
        unnamed if *unnamed == CloudName::unnamed() => "v1".to_owned(),
        named => format!("v1/{named}"),
    };
    let served = || {
        config
            .targets
            .iter()
            .filter(|(_, target)| target.expose && target.serves(name))
    };
    let targets: Vec<String> = served()
        .map(|(target, _)| format!("{target}@{base}/{path}/{target}"))
        .collect();
    let slowest_ms = served()
        .map(|(_, target)| target)
        .map(|target| target.timeout_ms.get())
        .max()
        .unwrap_or_default();
    // nova waits for whole seconds, and must wait longer than we do.
    let read_timeout = (slowest_ms / 1_000 + 1).max(5);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\
[api]
# StaticJSON is nova's default; DynamicJSON is what asks the targets.
vendordata_providers = StaticJSON,DynamicJSON
vendordata_dynamic_targets = {targets}
vendordata_dynamic_connect_timeout = 5
vendordata_dynamic_read_timeout = {read_timeout}
# True fails the boot of an instance whose vendordata cannot be had, for all targets alike.
vendordata_dynamic_failure_fatal = False
",
        targets = targets.join(","),
    );
    if base.starts_with("https") {
        text.push_str("# The authority that signed the gateway's certificate, unless the system knows it.\n#vendordata_dynamic_ssl_certfile = /etc/nova/vendordock-ca.pem\n");
    }
    let require = &cloud.auth.require;
    if require.has(Proof::None) {
        text.push_str(
            "\n# The gateway asks for no token: [vendordata_dynamic_auth] may stay empty.\n",
        );
        return text;
    }
    text.push_str("\n[vendordata_dynamic_auth]\n");
    if require.has(Proof::ClientCertificate) {
        text.push_str("# nova's own certificate, which the gateway asks for.\ncertfile = /etc/nova/vendordata.pem\nkeyfile = /etc/nova/vendordata.key\n");
    }
    if require.has(Proof::StaticToken) {
        text.push_str("# The token that `vendordock token` made. The endpoint is not used.\nauth_type = admin_token\nendpoint = http://127.0.0.1\ntoken = <the token>\n");
    }
    let Some(keystone) = &cloud.keystone else {
        return text;
    };
    let auth_url = keystone.auth_url.as_ref();
    let _ = write!(
        text,
        "\
# nova's own account. The gateway accepts {accepted}.
auth_type = password
auth_url = {auth_url}
username = nova
password = <nova's password>
project_name = service
user_domain_name = Default
project_domain_name = Default
",
        accepted = keystone.policy(),
        auth_url = auth_url.map_or_else(|| "<keystone>".to_owned(), ToString::to_string),
    );
    if let Some(ca_file) = &keystone.ca_file {
        let _ = writeln!(text, "cafile = {}", ca_file.display());
    }
    text
}

/// Where nova reaches the gateway, as far as the configuration tells.
fn address(config: &Config) -> String {
    let tls = config.server.tls.is_some();
    let address = config
        .server
        .listen
        .iter()
        .find_map(|listener| match listener {
            Listener::Tcp { address, .. } => {
                let scheme = if listener.is_tls(tls) {
                    "https"
                } else {
                    "http"
                };
                Some(format!("{scheme}://{address}"))
            }
            Listener::Unix(_) | Listener::Systemd(_) => None,
        });
    address.unwrap_or_else(|| "https://<the gateway>".to_owned())
}
