//! `vendordock token`.

use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Make a static token and the hash of it
///
/// The token goes to standard output, for whoever shows it; the line for the configuration, which holds its hash only,
/// to standard error. nova sends such a token with `auth_type = admin_token` under [vendordata_dynamic_auth].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vendordock token --name nova-2026 > token     the line goes under [auth.static_tokens]
  vendordock token --hash < token               the hash of a token that is there already")]
pub(super) struct Token {
    /// What the log calls whoever shows it
    #[arg(long, default_value = "nova")]
    name: String,
    /// Read a token from standard input and make none
    #[arg(long)]
    hash: bool,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let token = if self.hash {
            let text = std::io::read_to_string(std::io::stdin()).context("standard input")?;
            text.trim_end().to_owned()
        } else {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).context("the system has no random bytes")?;
            let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            println!("{token}");
            token
        };
        anyhow::ensure!(!token.is_empty(), "the token is empty");
        let digest = Sha256::digest(token);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{} = \"sha256:{digits}\"", self.name);
        Ok(ExitCode::SUCCESS)
    }
}
