//! What systemd hands over, and what it is told.
//!
//! A socket that systemd holds outlives the gateway: while it is restarted, connections wait in the kernel's queue, and
//! nova sees a slow answer instead of a refused connection. Such sockets come as open files, counted in `LISTEN_FDS`
//! and named in `LISTEN_FDNAMES`.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::config::{Listener, Listeners};

/// The sockets that were handed over. Each is given out once.
pub struct HandedOver {
    sockets: ListenFd,
    names: Vec<String>,
    reserved: Vec<String>,
}

/// One of them.
pub(super) enum Handed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl HandedOver {
    /// Looks into the environment, and takes the count out of it, so that no child takes the files for its own. To be
    /// called before there are threads, which could be reading it.
    pub fn from_environment() -> Self {
        // listenfd does not know of the names.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self {
            sockets: ListenFd::from_env(),
            names: names.split(':').map(str::to_owned).collect(),
            reserved: Vec::new(),
        }
    }

    /// Keeps the sockets that these places name from a place that says `systemd` and no name.
    pub fn reserve(&mut self, listeners: &Listeners) {
        let names = listeners.iter().filter_map(|listener| match listener {
            Listener::Systemd(name) => name.clone(),
            _ => None,
        });
        self.reserved.extend(names);
    }

    /// Those of a name, or all that no name was reserved for.
    pub(super) fn take(&mut self, name: Option<&str>) -> io::Result<Vec<Handed>> {
        let mut taken = Vec::new();
        for index in 0..self.sockets.len() {
            if !is_meant(&self.names, &self.reserved, index, name) {
                continue;
            }
            let handed = match self.sockets.take_tcp_listener(index) {
                Ok(listener) => listener.map(Handed::Tcp),
                Err(_no_tcp) => self.sockets.take_unix_listener(index)?.map(Handed::Unix),
            };
            taken.extend(handed);
        }
        Ok(taken)
    }
}

fn is_meant(names: &[String], reserved: &[String], index: usize, wanted: Option<&str>) -> bool {
    let name = names.get(index);
    match wanted {
        Some(wanted) => name.is_some_and(|name| name == wanted),
        None => !name.is_some_and(|name| reserved.contains(name)),
    }
}

/// Tells systemd, where it listens (`Type=notify`).
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_socket_is_for_the_place_of_that_name_alone() {
        let names = ["nova", "admin", "nova"].map(str::to_owned);
        let meant = |reserved: &[&str], wanted| {
            let reserved: Vec<String> = reserved.iter().map(|name| (*name).to_owned()).collect();
            let is_it = |index: &usize| is_meant(&names, &reserved, *index, wanted);
            (0..4).filter(is_it).collect::<Vec<usize>>()
        };

        assert_eq!(meant(&["nova"], Some("nova")), [0, 2]);
        assert_eq!(meant(&["admin"], None), [0, 2, 3]);
        assert_eq!(meant(&[], None), [0, 1, 2, 3]);
        assert_eq!(meant(&["other"], Some("other")), [0; 0]);
    }
}
