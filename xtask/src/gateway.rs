//! A gateway with stand-in upstreams, for the demo and the benchmark.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use vendordock_stand_ins::{Ipa, Keystone};

const ACCOUNT: &str = "vendordock";
const PASSWORD: &str = "the gateway's own password";

/// The upstreams, and the files that a configuration points at.
pub(crate) struct Site {
    pub(crate) keystone: Keystone,
    pub(crate) ipa: Ipa,
    directory: tempfile::TempDir,
}

/// A program that printed `listening on URL`.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) log: PathBuf,
}

impl Site {
    pub(crate) async fn start() -> Result<Self> {
        let keystone = Keystone::start().await;
        keystone.add_account(ACCOUNT, PASSWORD, "service", &["service"]);
        let site = Self {
            keystone,
            ipa: Ipa::start().await,
            directory: tempfile::tempdir().context("cannot make a directory")?,
        };
        site.write("keystone-password", PASSWORD)?;
        site.write("ipa-password", Ipa::PASSWORD)?;
        site.write("ipa-ca.pem", site.ipa.ca_pem())?;
        Ok(site)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A token as nova's, good for an hour.
    pub(crate) fn nova_token(&self) -> String {
        let hour = Duration::from_secs(3_600);
        self.keystone.issue("nova", "service", &["service"], hour)
    }

    /// What a configuration needs apart from its targets.
    pub(crate) fn base_configuration(&self) -> String {
        format!(
            r#"[server]
listen = "127.0.0.1:0"

[keystone]
auth_url = "{}"
username = "{ACCOUNT}"
password = {{ file = "keystone-password" }}
"#,
            self.keystone.url()
        )
    }

    /// Starts a gateway with this configuration.
    pub(crate) fn serve(&self, program: &Path, configuration: &str) -> Result<Server> {
        let file = self.write("vendordock.toml", configuration)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(file);
        Server::start(&mut command, &self.directory().join("gateway.log"))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        // Passwords are among them, and the gateway warns of those that others can read.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

impl Server {
    /// Starts a program and waits until it listens.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            let _ = child.kill();
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{program} did not start:\n{said}");
        };
        Ok(Self {
            url: url.to_owned(),
            child,
            log: log.to_owned(),
        })
    }
}

impl Server {
    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
