//! `[server]`, `[auth]`, `[cache]`, `[engine]` and `[log]`: the gateway apart from its targets.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// `[server]`: where to listen, and what a request may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The longest request body. nova's API lets user data alone be 65 535 characters.
    pub body_limit_bytes: usize,
    /// How long running requests may take to end after SIGTERM.
    pub shutdown_timeout_ms: u32,
    /// Threads that serve; one for each core when absent.
    pub workers: Option<std::num::NonZeroUsize>,
}

/// `[auth]`: how callers prove who they are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The way.
    pub method: AuthMethod,
    /// With `method = "none"`, listen beyond loopback all the same.
    pub anyone_who_reaches_the_port_may_ask: bool,
}

/// Ways to prove who is calling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMethod {
    /// nova's token, validated at `[keystone]`.
    #[default]
    Keystone,
    /// No proof at all.
    None,
}

/// `[cache]`: bounds of the answer cache, which all targets share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for answers and the requests they belong to.
    pub answers_bytes: u64,
    /// How many validated tokens are remembered.
    pub tokens: u64,
}

/// `[engine]`: bounds of the WebAssembly engine, which all targets share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Plugin calls that may run at once. Further ones wait, within their deadline.
    pub concurrent_calls: NonZeroU32,
    /// Reserve memory for all calls at start, which makes each call several times cheaper. It needs much
    /// address space, not memory; without enough of it the gateway says so and goes on without.
    pub pooling: bool,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Levels, `info` or `warn,vendordock::auth=debug`.
    pub filter: Filter,
}

/// Levels of the log, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Filter(String);

impl Filter {
    /// What the subscriber takes.
    pub fn layer(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match EnvFilter::builder().parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!(
                "`{text}` is not a list of `level` and `module=level`: {error}"
            )),
        }
    }
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line of text.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            body_limit_bytes: 256 * 1024,
            shutdown_timeout_ms: 10_000,
            workers: None,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            answers_bytes: 64 * 1024 * 1024,
            tokens: 10_000,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            concurrent_calls: const { NonZeroU32::new(64).expect("not zero") },
            pooling: true,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            filter: Filter("info".to_owned()),
        }
    }
}
