//! From the places in the configuration to sockets that listen.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::systemd::{Handed, HandedOver};
use crate::config::{Listener, Listeners, Mode};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: u32 = 1024;

/// Why the gateway cannot listen somewhere.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place} ([{table}] listen)")]
pub struct Error {
    place: Listener,
    table: &'static str,
    #[source]
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("another process listens there")]
    InUse,
    /// Whatever it is, it is not ours to remove.
    #[error("there is a file of that name, which is no socket")]
    NoSocket,
    #[error(
        "systemd handed over no such socket: start the service by its .socket unit, and compare FileDescriptorName="
    )]
    NotHandedOver,
    #[error(
        "systemd handed over {0}, which can be reached from other machines, and nobody has to prove who they are"
    )]
    Reachable(SocketAddr),
}

/// What holds for all places of one table.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The table, for messages.
    pub table: &'static str,
    /// The permissions of Unix sockets.
    pub unix_mode: Mode,
    /// Whether there is a certificate.
    pub tls: bool,
    /// Refuse a socket of systemd's that other machines can reach. Other places are checked with the configuration.
    pub local_only: bool,
}

/// A socket that listens. It displays as what a client would be given.
#[derive(Debug)]
pub struct Socket {
    listening: Listening,
    url: String,
    /// Whether connections begin with a TLS handshake.
    pub(super) tls: bool,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    /// The file is ours, unless the socket is systemd's.
    Unix(UnixListener, Option<SocketFile>),
}

/// A connection just made.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The name of a Unix socket, until it is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Listens at all these places, in their order.
///
/// # Errors
///
/// When one of them cannot be had.
pub fn bind(
    listeners: &Listeners,
    terms: &Terms,
    handed_over: &mut HandedOver,
) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    for place in listeners {
        let fail = |reason| Error {
            place: place.clone(),
            table: terms.table,
            reason,
        };
        let tls = place.is_tls(terms.tls);
        match place {
            Listener::Tcp { address, .. } => sockets.push(tcp(*address, tls).map_err(fail)?),
            Listener::Unix(path) => sockets.push(unix(path, terms.unix_mode).map_err(fail)?),
            Listener::Systemd(name) => {
                let handed = handed_over.take(name.as_deref());
                let handed = handed.map_err(|error| fail(error.into()))?;
                if handed.is_empty() {
                    return Err(fail(Reason::NotHandedOver));
                }
                for handed in handed {
                    sockets.push(adopt(handed, tls, terms.local_only).map_err(fail)?);
                }
            }
        }
    }
    Ok(sockets)
}

fn tcp(address: SocketAddr, tls: bool) -> Result<Socket, Reason> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the process before this one do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Socket::tcp(socket.listen(BACKLOG)?, tls)?)
}

/// Nobody can connect before the file has its mode: the socket listens only then. Under its name it appears last, in
/// place of what a process that died has left there.
fn unix(path: &Path, mode: Mode) -> Result<Socket, Reason> {
    make_way(path)?;
    // Short, for the whole path may have 107 bytes.
    let unfinished = path.with_file_name(format!(".{}", std::process::id()));
    if is_socket(&unfinished)? {
        // Left by a process of our number, which in a container all have.
        fs::remove_file(&unfinished)?;
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(&unfinished)?;
    let mut file = SocketFile::new(unfinished)?;
    fs::set_permissions(&file.path, fs::Permissions::from_mode(mode.bits()))?;
    let listener = socket.listen(BACKLOG)?;
    fs::rename(&file.path, path)?;
    path.clone_into(&mut file.path);
    Ok(Socket {
        url: format!("unix:{}", path.display()),
        listening: Listening::Unix(listener, Some(file)),
        tls: false,
    })
}

fn make_way(path: &Path) -> Result<(), Reason> {
    if !is_socket(path)? {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(Reason::InUse),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(()),
            // Its queue is full, so there is somebody.
            ErrorKind::WouldBlock => Err(Reason::InUse),
            _ => Err(error.into()),
        },
    }
}

/// Whether there is a socket; anything else there is an error.
fn is_socket(path: &Path) -> Result<bool, Reason> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(Reason::NoSocket),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn adopt(handed: Handed, tls: bool, local_only: bool) -> Result<Socket, Reason> {
    match handed {
        Handed::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            if local_only && !address.ip().is_loopback() {
                return Err(Reason::Reachable(address));
            }
            Ok(Socket::tcp(TcpListener::from_std(listener)?, tls)?)
        }
        Handed::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let path = address.as_pathname().unwrap_or(Path::new("(unnamed)"));
            Ok(Socket {
                url: format!("unix:{}", path.display()),
                listening: Listening::Unix(UnixListener::from_std(listener)?, None),
                tls: false,
            })
        }
    }
}

impl Socket {
    fn tcp(listener: TcpListener, tls: bool) -> io::Result<Self> {
        let scheme = if tls { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{}", listener.local_addr()?),
            listening: Listening::Tcp(listener),
            tls,
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.listening {
            Listening::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is one write, and should not wait for more. Fails when the peer is gone already.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listening::Unix(listener, _file) => {
                let (stream, _) = listener.accept().await?;
                Ok(Stream::Unix(stream))
            }
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The name may be another process's by now: the next gateway's, which took it over.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // It is of no use to anybody, and in nobody's way either.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
