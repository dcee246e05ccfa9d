//! `vendordock nova-conf`.

use std::fmt::Write as _;
use std::process::ExitCode;

use url::Url;

use super::ConfigFile;
use crate::config::{AuthMethod, Config};

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
}

impl NovaConf {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, _) = Config::load(&self.config.path)?;
        print!("{}", lines(&config, self.url.as_ref()));
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(config: &Config, url: Option<&Url>) -> String {
    let base = match url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", config.server.listen),
    };
    let targets: Vec<String> = config
        .targets
        .keys()
        .map(|name| format!("{name}@{base}/v1/{name}"))
        .collect();
    let slowest_ms = config
        .targets
        .values()
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
    let (AuthMethod::Keystone, Some(keystone)) = (config.auth.method, &config.keystone) else {
        text.push_str(
            "\n# The gateway asks for no token: [vendordata_dynamic_auth] may stay empty.\n",
        );
        return text;
    };
    let _ = write!(
        text,
        "
[vendordata_dynamic_auth]
# nova's own account. The gateway accepts any of the roles {roles:?} in any of {projects}.
auth_type = password
auth_url = {auth_url}
username = nova
password = <nova's password>
project_name = service
user_domain_name = Default
project_domain_name = Default
",
        roles = keystone.accept.roles,
        projects = keystone
            .accept
            .projects
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        auth_url = keystone.auth_url,
    );
    if let Some(ca_file) = &keystone.ca_file {
        let _ = writeln!(text, "cafile = {}", ca_file.display());
    }
    text
}
