//! Opens sockets: looks names up, sets keepalives, proves the peer of a Unix socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{SockRef, TcpKeepalive};
use stillframe_core::postgres::ConnectionFault;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::Transport;
use crate::settings::{ConnectSettings, Endpoint, Host};

/// One address of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Path of a Unix socket.
    Socket(PathBuf),
    /// Address and port.
    Network(SocketAddr),
}

/// All addresses of a host, in the order of the resolver.
pub(crate) async fn places(host: &Host) -> Result<Vec<Place>, ConnectionFault> {
    match &host.endpoint {
        Endpoint::Socket(directory) => Ok(vec![Place::Socket(directory.join(format!(".s.PGSQL.{}", host.port)))]),
        Endpoint::Network { address: Some(address), .. } => Ok(vec![Place::Network((*address, host.port).into())]),
        Endpoint::Network { name, address: None } => {
            let name = name.as_deref().unwrap_or_default();
            let lost = |error| ConnectionFault::Lost(format!("the host name `{name}` cannot be resolved: {error}"));
            Ok(lookup_host((name, host.port)).await.map_err(lost)?.map(Place::Network).collect())
        }
    }
}

/// Connects a socket.
pub(crate) async fn dial(place: &Place, settings: &ConnectSettings) -> Result<Transport, ConnectionFault> {
    match place {
        Place::Socket(path) => {
            let lost = |error| ConnectionFault::Lost(format!("the socket `{}` does not answer: {error}", path.display()));
            let stream = UnixStream::connect(path).await.map_err(lost)?;
            if let Some(required) = &settings.required_peer {
                prove_peer(&stream, required)?;
            }
            Ok(Transport::Unix(stream))
        }
        Place::Network(address) => {
            let lost = |error| ConnectionFault::Lost(format!("{address} does not answer: {error}"));
            let stream = TcpStream::connect(address).await.map_err(lost)?;
            tune(&stream, settings).map_err(lost)?;
            Ok(Transport::Tcp(stream))
        }
    }
}

fn tune(stream: &TcpStream, settings: &ConnectSettings) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(keepalives) = settings.keepalives {
        let probes =
            TcpKeepalive::new().with_time(keepalives.idle).with_interval(keepalives.interval).with_retries(keepalives.count);
        socket.set_tcp_keepalive(&probes)?;
    }
    socket.set_tcp_user_timeout(settings.user_timeout)
}

/// `requirepeer`: who listens in a directory where everybody may create sockets.
fn prove_peer(stream: &UnixStream, required: &str) -> Result<(), ConnectionFault> {
    let uid = stream.peer_cred().map_err(|error| ConnectionFault::Lost(error.to_string()))?.uid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let owner = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    if owner.as_deref() == Some(required) {
        return Ok(());
    }
    let found = owner.unwrap_or_else(|| uid.to_string());
    Err(ConnectionFault::Authentication(format!("`requirepeer` is `{required}`, and the server runs as `{found}`")))
}
