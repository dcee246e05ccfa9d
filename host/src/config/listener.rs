//! Where to listen, as an operator writes it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::one_or_many;

/// One place to listen at.
///
/// `127.0.0.1:9090`, `http://127.0.0.1:9090`, `https://0.0.0.0:9443`, `unix:/run/vendordock/nova.sock`, `systemd`
/// or `systemd:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listener {
    /// An address and a port; port 0 lets the kernel choose.
    Tcp {
        /// Where.
        address: SocketAddr,
        /// As the scheme says; without one, TLS where `[server.tls]` is configured.
        tls: Option<bool>,
    },
    /// A socket in the file system. Never TLS: who may open it is a matter of its mode.
    Unix(PathBuf),
    /// Every socket that systemd hands over, or those of one `FileDescriptorName=`. TCP sockets are TLS where
    /// `[server.tls]` is configured.
    Systemd(Option<String>),
}

/// One place or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners(Vec<Listener>);

impl<'de> Deserialize<'de> for Listeners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listeners = one_or_many::read(deserializer)?;
        if listeners.is_empty() {
            return Err(serde::de::Error::custom("nothing to listen at"));
        }
        Ok(Self(listeners))
    }
}

impl From<Listener> for Listeners {
    fn from(listener: Listener) -> Self {
        Self(vec![listener])
    }
}

impl Listeners {
    /// The places.
    pub fn iter(&self) -> std::slice::Iter<'_, Listener> {
        self.0.iter()
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for listener in &mut self.0 {
            if let Listener::Unix(path) = listener {
                *path = directory.join(&*path);
            }
        }
    }
}

impl<'a> IntoIterator for &'a Listeners {
    type Item = &'a Listener;
    type IntoIter = std::slice::Iter<'a, Listener>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Listener {
    /// Whether it can be reached from this machine alone. What systemd will hand over is not known yet.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { address, .. } => address.ip().is_loopback(),
            Self::Unix(_) | Self::Systemd(_) => true,
        }
    }

    /// Whether connections are encrypted, where a certificate is configured.
    pub fn is_tls(&self, configured: bool) -> bool {
        match self {
            Self::Tcp { tls, .. } => tls.unwrap_or(configured),
            Self::Unix(_) => false,
            Self::Systemd(_) => configured,
        }
    }
}

impl TryFrom<String> for Listener {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("`unix:` wants a path: `unix:/run/vendordock/nova.sock`".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return Ok(Self::Systemd(Some(name.to_owned())));
        }
        let (tls, address) = match text.split_once("://") {
            Some(("https", address)) => (Some(true), address),
            Some(("http", address)) => (Some(false), address),
            Some((scheme, _)) => {
                return Err(format!("`{scheme}` is neither http nor https"));
            }
            None => (None, text.as_str()),
        };
        match address.trim_end_matches('/').parse() {
            Ok(address) => Ok(Self::Tcp { address, tls }),
            Err(_no_address) => Err(format!(
                "`{text}` is no address to listen at: write an IP address with a port \
                 (`127.0.0.1:9090`, `https://[::]:9443`), `unix:/path` or `systemd`"
            )),
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { address, tls } => match tls {
                Some(true) => write!(formatter, "https://{address}"),
                Some(false) => write!(formatter, "http://{address}"),
                None => write!(formatter, "{address}"),
            },
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Systemd(None) => write!(formatter, "systemd"),
            Self::Systemd(Some(name)) => write!(formatter, "systemd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_place_reads_back_as_it_was_written() {
        for text in [
            "127.0.0.1:9090",
            "http://127.0.0.1:9090",
            "https://[::]:9443",
            "unix:/run/vendordock/nova.sock",
            "systemd",
            "systemd:nova",
        ] {
            let listener = Listener::try_from(text.to_owned()).expect("a place");
            assert_eq!(listener.to_string(), text);
        }
        for text in [
            "",
            "localhost:9090",
            "127.0.0.1",
            "unix:",
            "ftp://127.0.0.1:21",
        ] {
            assert!(Listener::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
