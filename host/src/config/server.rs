//! `[server]`, `[admin]`, `[cache]`, `[engine]`, `[log]` and `[traces]`: the gateway apart from callers and targets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Document, Fault, Listener, Listeners, TokenHash};

/// `[server]`: where to listen, and what a connection and a request may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where to listen for nova.
    pub listen: Listeners,
    /// The permissions of Unix sockets, in octal digits.
    pub unix_mode: Mode,
    /// The gateway's certificate; without one, all is plain HTTP.
    pub tls: Option<Tls>,
    /// Connections that may be open at once. Further ones wait in the kernel's queue.
    pub connections: NonZeroU32,
    /// How long the TLS handshake may take, and how long a request's head, from its first byte to its last.
    pub header_timeout_ms: NonZeroU32,
    /// How long a request's body may take. The target's own time holds on top.
    pub body_timeout_ms: NonZeroU32,
    /// How long a connection may be open without a request.
    pub idle_timeout_ms: NonZeroU32,
    /// The longest head of a request.
    pub header_bytes: HeaderBytes,
    /// The longest request body. nova's API lets user data alone be 65 535 characters.
    pub body_limit_bytes: usize,
    /// How long requests are still taken after SIGTERM, while `/readyz` already says no.
    pub drain_ms: u32,
    /// How long running requests may take to end after that.
    pub shutdown_timeout_ms: u32,
    /// Threads that serve; one for each core, but two at least, when absent.
    pub workers: Option<NonZeroUsize>,
}

/// `[server.tls]`: the gateway's certificate. The files are read again when they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those between it and its authority, in PEM.
    pub certificate_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// The authority that signed the callers' certificates. With it, every connection is asked for one, and one that is
    /// shown must be good; who must show one is for `auth.require` to say.
    pub client_ca_file: Option<PathBuf>,
}

/// The permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(u32);

/// Bytes of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct HeaderBytes(usize);

/// `[admin]`: a listener for those who run the gateway: metrics, readiness, the log's levels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where. Beyond loopback and Unix sockets, `tokens` must be given.
    pub listen: Listeners,
    /// Tokens in `Authorization: Bearer`, one of which each request must have; none are asked for when empty.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenHash>,
}

/// `[traces]`: spans for an OpenTelemetry collector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector's traces endpoint, which takes OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`.
    pub otlp_endpoint: Url,
    /// Of the requests that come without a `traceparent`, this part is traced.
    #[serde(default = "all")]
    pub sample_ratio: f64,
}

/// `[cache]`: bounds of the answer cache, which all targets share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for answers and the requests they belong to.
    pub answers_bytes: u64,
    /// How many tokens are remembered, in each cloud; refused ones are counted apart.
    pub tokens: u64,
}

/// `[engine]`: bounds of the WebAssembly engine, which all targets share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Plugin calls that may run at once, of all targets together. Further ones wait, within their deadline.
    pub concurrent_calls: NonZeroU32,
    /// Reserve memory for all calls at start, which makes each call several times cheaper. It needs much
    /// address space, not memory; without enough of it the gateway says so and goes on without.
    pub pooling: bool,
    /// The largest file of a plugin; one from componentize-py has 18 MB.
    pub component_bytes: NonZeroU64,
    /// How long one component may take to compile. Python and JavaScript plugins take some seconds.
    pub compile_timeout_ms: NonZeroU32,
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

impl Mode {
    /// For `chmod`.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(format!("`{text}` is no mode: write it as `0660`")),
        }
    }
}

impl HeaderBytes {
    /// How many.
    pub fn get(self) -> usize {
        self.0
    }
}

impl TryFrom<usize> for HeaderBytes {
    type Error = &'static str;

    fn try_from(bytes: usize) -> Result<Self, &'static str> {
        if (8 * 1024..=1024 * 1024).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err("between 8192, for a token alone may have that much, and 1048576")
        }
    }
}

impl Server {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.listen.resolve_paths(directory);
        if let Some(tls) = &mut self.tls {
            for path in [&mut tls.certificate_file, &mut tls.key_file] {
                *path = directory.join(&*path);
            }
            if let Some(path) = &mut tls.client_ca_file {
                *path = directory.join(&*path);
            }
        }
    }

    pub(super) fn check(&self, document: &Document) -> Vec<Fault> {
        let https = |listener: &Listener| {
            matches!(
                listener,
                Listener::Tcp {
                    tls: Some(true),
                    ..
                }
            )
        };
        if self.tls.is_none() && self.listen.iter().any(https) {
            let message =
                "https:// needs a certificate: [server.tls] with certificate_file and key_file";
            return vec![document.fault(&["server", "listen"], message)];
        }
        Vec::new()
    }

    /// What will work and is likely not meant.
    pub fn warnings(&self) -> Vec<String> {
        let plain = self
            .listen
            .iter()
            .filter(|listener| !listener.is_local() && !listener.is_tls(self.tls.is_some()));
        plain
            .map(|listener| {
                format!(
                    "{listener} is reached over the network without TLS: nova's tokens, and the secrets in the answers, \
                     can be read on the way"
                )
            })
            .collect()
    }
}

impl Admin {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.listen.resolve_paths(directory);
    }

    pub(super) fn check(&self, server: &Server, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        let at = ["admin", "listen"];
        if self.tokens.is_empty() && !self.listen.iter().all(Listener::is_local) {
            faults.push(document.fault(
                &at,
                "can be reached from other machines: listen on 127.0.0.1 or a Unix socket, or give [admin.tokens]",
            ));
        }
        let https = |listener: &Listener| {
            matches!(
                listener,
                Listener::Tcp {
                    tls: Some(true),
                    ..
                }
            )
        };
        if server.tls.is_none() && self.listen.iter().any(https) {
            faults.push(document.fault(&at, "https:// needs a certificate: [server.tls]"));
        }
        faults
    }
}

impl Traces {
    pub(super) fn check(&self, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !matches!(self.otlp_endpoint.scheme(), "http" | "https") {
            let message = "OTLP goes over HTTP here: http://... or https://...";
            faults.push(document.fault(&["traces", "otlp_endpoint"], message));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            faults.push(document.fault(&["traces", "sample_ratio"], "between 0.0 and 1.0"));
        }
        faults
    }
}

fn all() -> f64 {
    1.0
}

impl Default for Server {
    fn default() -> Self {
        let milliseconds = |time| NonZeroU32::new(time).unwrap_or(NonZeroU32::MIN);
        let listener = Listener::Tcp {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            tls: None,
        };
        Self {
            listen: listener.into(),
            unix_mode: Mode(0o660),
            tls: None,
            connections: const { NonZeroU32::new(4_096).expect("not zero") },
            header_timeout_ms: milliseconds(5_000),
            body_timeout_ms: milliseconds(3_000),
            idle_timeout_ms: milliseconds(300_000),
            header_bytes: HeaderBytes(32 * 1024),
            body_limit_bytes: 256 * 1024,
            drain_ms: 1_000,
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
            component_bytes: const { NonZeroU64::new(64 << 20).expect("not zero") },
            compile_timeout_ms: const { NonZeroU32::new(60_000).expect("not zero") },
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
