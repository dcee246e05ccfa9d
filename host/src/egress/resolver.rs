//! From a name to addresses, of which only those are left that the rule permits.
//!
//! The client connects to what comes from here and asks nobody again, so that an answer cannot change between the check and
//! the connection. It takes the name for the TLS handshake and the `Host` header all the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::config::{Networks, network::described};

/// Look-ups of one target that may be under way. The operating system's resolver holds a thread for each, and lets go of it
/// when it likes: a name server that hangs must not take the threads of other targets.
const LOOKUPS: usize = 8;

/// More addresses than this are no help, and each may take its time.
const MOST_ADDRESSES: usize = 16;

/// Who knows the names of one target.
pub(super) struct Names {
    fixed: BTreeMap<String, Vec<IpAddr>>,
    source: Source,
}

enum Source {
    /// `getaddrinfo`: what `nsswitch.conf` says, the hosts file among it.
    System(Arc<Semaphore>),
    /// One answer after the other.
    #[cfg(test)]
    Script(std::sync::Mutex<Vec<Vec<IpAddr>>>),
}

/// Answers one client, by the networks of its rules.
pub(super) struct Resolver {
    pub(super) names: Arc<Names>,
    pub(super) networks: Networks,
}

/// A name that leads to addresses, and to none that the rule permits.
#[derive(Debug, thiserror::Error)]
#[error("it leads to {} only", shown(.0))]
pub(super) struct Forbidden(pub(super) Vec<IpAddr>);

/// The addresses with what they are.
pub(super) fn shown(addresses: &[IpAddr]) -> String {
    let described: Vec<String> = addresses.iter().copied().map(described).collect();
    described.join(", ")
}

impl Names {
    pub(super) fn new(fixed: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self {
            fixed,
            source: Source::System(Arc::new(Semaphore::new(LOOKUPS))),
        }
    }

    #[cfg(test)]
    pub(super) fn scripted(mut answers: Vec<Vec<IpAddr>>) -> Self {
        answers.reverse();
        Self {
            fixed: BTreeMap::new(),
            source: Source::Script(answers.into()),
        }
    }

    async fn look_up(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        if let Some(addresses) = self.fixed.get(name) {
            return Ok(addresses.clone());
        }
        match &self.source {
            Source::System(lookups) => {
                let permit = lookups.clone().acquire_owned().await;
                let name = name.to_owned();
                let lookup = tokio::task::spawn_blocking(move || {
                    // It goes back when the look-up ends, which may be long after anybody waits for it.
                    let _permit = permit;
                    let found = (name.as_str(), 0).to_socket_addrs()?;
                    Ok(found.map(|address| address.ip()).collect())
                });
                lookup.await.map_err(std::io::Error::other)?
            }
            #[cfg(test)]
            Source::Script(answers) => {
                let next = answers.lock().expect("not poisoned").pop();
                Ok(next.expect("nobody asks more often"))
            }
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.names.clone();
        let networks = self.networks.clone();
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await?;
            let permitted: Vec<SocketAddr> = found
                .iter()
                .filter(|address| networks.permit(**address))
                .take(MOST_ADDRESSES)
                // The client puts the URL's port in place of this.
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            if permitted.is_empty() && !found.is_empty() {
                return Err(Forbidden(found.into_iter().take(MOST_ADDRESSES).collect()).into());
            }
            let addresses: Addrs = Box::new(permitted.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(answer: &[&str]) -> Result<Vec<String>, String> {
        let answer = answer
            .iter()
            .map(|address| address.parse().expect("an address"));
        let resolver = Resolver {
            names: Arc::new(Names::scripted(vec![answer.collect()])),
            networks: Networks::default(),
        };
        let name = "host.example.test".parse().expect("a name");
        match resolver.resolve(name).await {
            Ok(addresses) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn of_several_addresses_those_are_left_that_may_be_connected_to() {
        let left = resolved(&[
            "127.0.0.1",
            "1.1.1.1",
            "169.254.169.254",
            "::1",
            "2606:4700::1",
        ]);
        assert_eq!(
            left.await,
            Ok(vec!["1.1.1.1".to_owned(), "2606:4700::1".to_owned()])
        );

        let none = resolved(&["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"]);
        assert_eq!(
            none.await,
            Err("it leads to 10.0.0.1 (private), 169.254.169.254 (a metadata service), ::ffff:127.0.0.1 (loopback) only".to_owned())
        );
    }

    #[tokio::test]
    async fn what_the_operator_says_of_a_name_is_not_asked_for_and_is_checked_like_the_rest() {
        let fixed = [(
            "a.test".to_owned(),
            vec![[1, 1, 1, 1].into(), [10, 0, 0, 1].into()],
        )];
        let resolver = Resolver {
            names: Arc::new(Names::new(fixed.into())),
            networks: Networks::default(),
        };
        let found = resolver.resolve("a.test".parse().expect("a name")).await;
        let found: Vec<SocketAddr> = found.expect("addresses").collect();
        assert_eq!(found, [SocketAddr::from(([1, 1, 1, 1], 0))]);
    }
}
