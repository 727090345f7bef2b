//! The openings of a sandbox that its user asked for: services of the host that are reached from inside, and ports inside
//! that the host reaches. Bytes are passed on as they come; nothing else passes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use keycard_domain::limits;
use keycard_wire::connection;
use tokio::io::{AsyncWriteExt, Interest, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::sync::{Mutex, watch};

use super::super::protocol::{Allowed, OPENINGS_MAX, receive_some};

/// Longest name of a host. Source: RFC 1035 section 2.3.4.
const HOST_BYTES_MAX: usize = 253;

/// Where the connections of a listener lead.
#[derive(Clone, Debug)]
pub(super) enum Opening {
    /// From inside to a service of the host.
    Outward(Allowed),
    /// From the host to a port inside.
    Inward(Arc<SocketMaker>, u16),
}

/// Whether the openings may be made, in words if not.
pub(super) fn check(allow: &[Allowed], publish: &[u16]) -> Result<(), String> {
    if allow.len() > OPENINGS_MAX || publish.len() > OPENINGS_MAX {
        return Err(format!("--allow and --publish can be given {OPENINGS_MAX} times each"));
    }
    for Allowed { host, port } in allow {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if *port == 0
            || host.is_empty()
            || host.len() > HOST_BYTES_MAX
            || !host.bytes().all(is_name)
        {
            return Err(format!("--allow {host}:{port}: HOST is a name or an IPv4 address"));
        }
        if host.parse::<Ipv4Addr>().is_ok_and(is_never_reached) {
            return Err(format!(
                "--allow {host}:{port}: that address is not reached from a sandbox"
            ));
        }
    }
    if publish.contains(&0) {
        return Err("--publish 0: the port has to be one that the command listens at".to_owned());
    }
    Ok(())
}

/// Link-local addresses are those of a cloud's own metadata service: that is what a sandbox keeps programs away from.
fn is_never_reached(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
}

/// Listens on the host for the published ports.
pub(super) async fn publish(
    ports: &[u16],
    maker: Option<SocketMaker>,
    closed: &watch::Receiver<()>,
) -> io::Result<()> {
    let Some(maker) = maker.map(Arc::new) else { return Ok(()) };
    for port in ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await.map_err(|error| {
            io::Error::new(error.kind(), format!("--publish {port}: on this host, {error}"))
        })?;
        let opening = Opening::Inward(Arc::clone(&maker), *port);
        tokio::spawn(relay(listener, opening, closed.clone()));
    }
    Ok(())
}

/// Passes on the bytes of each connection.
pub(super) async fn relay(listener: TcpListener, opening: Opening, closed: watch::Receiver<()>) {
    let connections_max = limits::RELAYED_CONNECTIONS_MAX;
    connection::accept_up_to(connections_max, listener, closed, |mut near, mut closed| {
        let opening = opening.clone();
        let pass_on = async move {
            let connecting = tokio::time::timeout(limits::HAND_OVER_TIME_MAX, opening.connect());
            let mut far = connecting.await.map_err(|_| io::ErrorKind::TimedOut)??;
            let _ = far.set_nodelay(true);
            copy_bidirectional(&mut near, &mut far).await
        };
        async move {
            tokio::select! {
                _ = pass_on => {}
                _ = closed.changed() => {}
            }
        }
    })
    .await;
}

impl Opening {
    async fn connect(&self) -> io::Result<TcpStream> {
        match self {
            Self::Outward(Allowed { host, port }) => connect_outward(host, *port).await,
            Self::Inward(maker, port) => {
                let socket = maker.make().await?;
                socket.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port).into()).await
            }
        }
    }
}

/// A name is looked up when it is connected to, as the host itself would, and must not lead where an address may not.
async fn connect_outward(host: &str, port: u16) -> io::Result<TcpStream> {
    let is_reached = |address: &SocketAddr| match address {
        SocketAddr::V4(address) => !is_never_reached(*address.ip()),
        SocketAddr::V6(address) => {
            !address.ip().is_unicast_link_local()
                && !address.ip().to_ipv4_mapped().is_some_and(is_never_reached)
        }
    };
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.filter(is_reached).collect();
    TcpStream::connect(addresses.as_slice()).await
}

/// The process inside that makes sockets.
#[derive(Debug)]
pub(super) struct SocketMaker(Mutex<UnixStream>);

impl SocketMaker {
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(descriptor);
        stream.set_nonblocking(true)?;
        Ok(Self(Mutex::new(UnixStream::from_std(stream)?)))
    }

    /// A socket of the sandbox's network, not connected yet.
    async fn make(&self) -> io::Result<TcpSocket> {
        let mut stream = self.0.lock().await;
        stream.write_all(&[1]).await?;
        let (mut answer, mut descriptors) = (Vec::new(), Vec::new());
        let receive = || receive_some(stream.as_fd(), &mut answer, &mut descriptors);
        stream.async_io(Interest::READABLE, receive).await?;
        let made = descriptors.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
        let socket = std::net::TcpStream::from(made);
        socket.set_nonblocking(true)?;
        Ok(TcpSocket::from_std_stream(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, port: u16) -> Allowed {
        Allowed { host: host.to_owned(), port }
    }

    #[test]
    fn only_plain_hosts_outside_the_clouds_own_addresses_are_allowed() {
        for host in ["localhost", "127.0.0.1", "10.1.2.3", "db_1.internal", "kv.vault.azure.net"] {
            assert_eq!(check(&[allowed(host, 5432)], &[]), Ok(()), "{host}");
        }
        for host in
            ["", "a b", "a\nb", "[::1]", "169.254.169.254", "169.254.1.1", "0.0.0.0", "224.0.0.1"]
        {
            assert!(check(&[allowed(host, 80)], &[]).is_err(), "{host:?}");
        }
        assert!(check(&[allowed("a", 0)], &[]).is_err());
        assert!(check(&[allowed(&"a".repeat(HOST_BYTES_MAX + 1), 1)], &[]).is_err());
        assert!(check(&vec![allowed("a", 1); OPENINGS_MAX + 1], &[]).is_err());
        assert!(check(&[], &[1; OPENINGS_MAX + 1]).is_err());
        assert!(check(&[], &[0]).is_err());
        assert_eq!(check(&[], &[8000]), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_the_clouds_own_addresses_is_not_connected_to() {
        for host in ["169.254.169.254", "0.0.0.0"] {
            assert!(connect_outward(host, 1).await.is_err(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_passed_on_both_ways() {
        use tokio::io::AsyncReadExt;
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = near.local_addr().unwrap();
        let (_open, closed) = watch::channel(());
        let to = allowed("localhost", service.local_addr().unwrap().port());
        tokio::spawn(relay(near, Opening::Outward(to), closed));
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut served, _) = service.accept().await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let mut heard = [0; 3];
        served.read_exact(&mut heard).await.unwrap();
        served.write_all(b"say").await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"say");
    }
}
