//! What `keycard run` and the running keycard say to each other over the control socket: lines of JSON, and with the last
//! of them the sockets that were made inside.
//!
//! Twice the command speaks and is answered: [`Hello`] and [`Welcome`], [`HandOver`] and [`Ready`]. Afterwards nothing that
//! is written is read as anything; that the socket is open says that the command, or a descendant of it, is there.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of this protocol; both sides are usually the same binary, but an old server may run on.
pub(crate) const VERSION: u32 = 2;
/// Longest line, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most services of the host that one sandbox reaches, and most of its own ports that the host reaches.
pub const OPENINGS_MAX: usize = 32;
/// Most descriptors that one message carries: the fixed listeners, an allowed service each, and the socket maker.
const DESCRIPTORS_MAX: usize = OPENINGS_MAX + 8;

/// The address of the metadata endpoint.
pub(crate) const METADATA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80);
/// The address that every name of Azure leads to. Not loopback: a program may listen there itself, and what guards against
/// request forgery refuses it.
pub(crate) const AZURE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 254, 254, 1), 443);
/// The address of the responder.
pub(crate) const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 53);
/// The address of App Service's token endpoint, as there.
pub(crate) const APP_SERVICE: SocketAddrV4 =
    SocketAddrV4::new(Ipv4Addr::new(169, 254, 130, 1), 8081);
/// The address of Cloud Shell's token endpoint, as there: msal and az ask no other.
pub(crate) const CLOUD_SHELL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 50342);

/// What the command wants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    /// The resource, by its whole id or a name.
    pub(crate) resource: String,
    /// Services of the host that it reaches.
    pub(crate) allow: Vec<Allowed>,
    /// Ports of its own that the host reaches.
    pub(crate) publish: Vec<u16>,
    /// Whether it has `CAP_SYS_ADMIN`, and so will the command.
    pub(crate) is_administrator: bool,
}

/// A service of the host that is reached from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// A name or an IPv4 address, as the program inside writes it.
    pub host: String,
    /// The TCP port, on both sides.
    pub port: u16,
}

/// What it is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    Granted(T),
    /// A sentence for a person.
    Refused(String),
}

/// What the command has to know to furnish the sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The resource's whole id.
    pub(crate) resource: String,
    /// The certificate of the local authority, PEM.
    pub(crate) authority: String,
    /// OpenSSL's name for it.
    pub(crate) subject_hash: String,
    /// The port of keycard's own names, on loopback.
    pub(crate) own_port: u16,
    /// App Service's endpoint, where the resource's kind has it.
    pub(crate) app_service: Option<AppService>,
    /// Directories of keycard's that the command must not see.
    pub(crate) covered: Vec<String>,
    /// What the user ought to know.
    pub(crate) notice: Option<String>,
}

/// What App Service tells its workloads in variables.
#[derive(Serialize, Deserialize)]
pub(crate) struct AppService {
    pub(crate) url: String,
    pub(crate) header: String,
}

impl std::fmt::Debug for AppService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AppService").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What each descriptor that comes with this line is, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandOver {
    pub(crate) sockets: Vec<Handed>,
    /// Where the names of allowed services lead inside.
    pub(crate) names: Vec<(String, Ipv4Addr)>,
}

/// A socket that was made inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Handed {
    Metadata,
    AppService,
    CloudShell,
    Azure,
    Own,
    ResolverUdp,
    ResolverTcp,
    /// The listener of the allowed service with this place in [`Hello::allow`].
    Allowed(usize),
    /// Leads to a process inside that makes sockets on demand.
    SocketMaker,
}

/// All is served from here on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {}

pub(crate) fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    if line.len() >= LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    line.push(b'\n');
    Ok(line)
}

pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(line)?)
}

/// Sends a line with descriptors on a socket that blocks.
pub(crate) fn send_with(
    socket: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let line = line(message)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.len() <= DESCRIPTORS_MAX
        && (descriptors.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    if !fits {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let mut sent = sendmsg(socket, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    while let Some(rest) = line.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives once: bytes, and whatever descriptors came with them.
pub(crate) fn receive_some(
    socket: impl AsFd,
    bytes: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = [0_u8; 4096];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    bytes.extend_from_slice(buffer.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

/// Reads a line on a socket that blocks.
pub(crate) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<T> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.ends_with(b"\n") {
        let received = socket.read(&mut buffer)?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(buffer.get(..received).unwrap_or_default());
        if bytes.len() > LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
    parse(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn descriptors_arrive_with_their_line() {
        let (near, far) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = HandOver { sockets: vec![Handed::Metadata], names: Vec::new() };
        send_with(&near, &message, &[listener.as_fd()]).unwrap();
        let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
        receive_some(&far, &mut bytes, &mut descriptors).unwrap();
        assert_eq!(parse::<HandOver>(&bytes).unwrap().sockets, [Handed::Metadata]);
        let received = TcpListener::from(descriptors.pop().unwrap());
        assert_eq!(received.local_addr().unwrap().port(), port);
        assert!(descriptors.is_empty());
    }

    #[test]
    fn too_many_descriptors_and_too_long_a_line_are_not_sent() {
        let (near, _far) = UnixStream::pair().unwrap();
        let many = vec![near.as_fd(); DESCRIPTORS_MAX + 1];
        assert!(send_with(&near, &Ready {}, &many).is_err());
        assert!(send_with(&near, &"x".repeat(LINE_BYTES_MAX), &[]).is_err());
    }

    #[test]
    fn an_answer_without_an_end_is_not_read_for_ever() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            let _ = far.write_all(&vec![b'x'; 2 * LINE_BYTES_MAX]);
        });
        let kind = receive::<Ready>(&near).map_err(|error| error.kind());
        drop(near);
        writer.join().unwrap();
        assert_eq!(kind.err(), Some(io::ErrorKind::InvalidData));
    }
}
