//! Addresses and links of this network namespace, put in place and taken away through a route netlink socket.
//!
//! What a host, a sidecar and a sandbox need so that 169.254.169.254 is here: `lo` up, a /32 on it or on a dummy link. Needs
//! `CAP_NET_ADMIN` in the user namespace that owns the network. Source: Linux, `rtnetlink(7)`, `netlink(7)`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send,
    socket_with,
};

/// The index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;
/// Longest name of a link and of an address's label, in bytes: `IFNAMSIZ` without its final zero.
pub const LINK_NAME_BYTES_MAX: usize = 15;

/// An acknowledgement repeats the request's head and may say more; the first 20 bytes are what counts.
const ANSWER_BYTES_MAX: usize = 4096;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;
/// `AF_INET` in the one byte that an address message has for it.
const FAMILY_INET: u8 = 2;
/// `RT_SCOPE_HOST`: the address is never chosen as the source of what leaves the host.
const SCOPE_HOST: u8 = 254;

/// A route netlink socket: it belongs to the network namespace that it was opened in, wherever its owner goes.
#[derive(Debug)]
pub struct RouteSocket(OwnedFd);

impl RouteSocket {
    /// Opens one in the present network namespace.
    pub fn open() -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self(socket))
    }

    /// The index of the link with this name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link(&self, name: &str) -> io::Result<u32> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        Ok(netdevice::name_to_index(&socket, name)?)
    }

    /// Switches a link on.
    pub fn bring_up(&self, link: u32) -> io::Result<()> {
        self.ask(RTM_NEWLINK, 0, &link_message(link, IFF_UP))
    }

    /// Makes a dummy link, which leads nowhere, and gives its index; it is switched off.
    ///
    /// # Errors
    /// `EEXIST` if a link has the name; `EOPNOTSUPP` if the kernel has no dummy links.
    pub fn create_dummy(&self, name: &str) -> io::Result<u32> {
        let mut message = link_message(0, 0);
        put_attribute(&mut message, IFLA_IFNAME, &zero_terminated(name)?);
        let mut kind = Vec::new();
        put_attribute(&mut kind, IFLA_INFO_KIND, b"dummy");
        put_attribute(&mut message, IFLA_LINKINFO, &kind);
        self.ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &message)?;
        self.link(name)
    }

    /// Deletes a link with all its addresses.
    pub fn delete_link(&self, link: u32) -> io::Result<()> {
        self.ask(RTM_DELLINK, 0, &link_message(link, 0))
    }

    /// Gives a link the address as a /32. The label, which `ip address` shows, has to begin with the link's name.
    ///
    /// # Errors
    /// `EEXIST` if the link has the address.
    pub fn add_address(&self, link: u32, address: Ipv4Addr, label: Option<&str>) -> io::Result<()> {
        let message = address_message(link, address, label)?;
        self.ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message)
    }

    /// Takes the address from a link; with a label, only the one that bears it.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if the link has no such address.
    pub fn remove_address(
        &self,
        link: u32,
        address: Ipv4Addr,
        label: Option<&str>,
    ) -> io::Result<()> {
        self.ask(RTM_DELADDR, 0, &address_message(link, address, label)?)
    }

    /// Sends a request and reads the kernel's word on it, which is there as soon as the request is sent.
    fn ask(&self, kind: u16, flags: u16, message: &[u8]) -> io::Result<()> {
        let mut request = Vec::with_capacity(16 + message.len());
        let length = u32::try_from(16 + message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        // Sequence number and port: nobody else speaks on this socket, and zero is the kernel.
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(message);
        send(&self.0, &request, SendFlags::empty())?;
        let mut answer = [0_u8; ANSWER_BYTES_MAX];
        let (received, _) = recv(&self.0, answer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        outcome(answer.get(..received).unwrap_or_default())
    }
}

/// What an acknowledgement says: zero, or an error's number negated.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "not an acknowledgement");
    let kind = answer.get(4..6).ok_or_else(unexpected)?;
    if kind != NLMSG_ERROR.to_ne_bytes() {
        return Err(unexpected());
    }
    let code = answer.get(16..20).and_then(|code| code.try_into().ok()).ok_or_else(unexpected)?;
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}

/// `struct ifinfomsg`: family, type, index, flags, which flags to change.
fn link_message(link: u32, flags: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    for word in [link, flags, flags] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    message
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index; then the address twice, as this end and as the network.
fn address_message(link: u32, address: Ipv4Addr, label: Option<&str>) -> io::Result<Vec<u8>> {
    let mut message = vec![FAMILY_INET, 32, 0, SCOPE_HOST];
    message.extend_from_slice(&link.to_ne_bytes());
    put_attribute(&mut message, IFA_LOCAL, &address.octets());
    put_attribute(&mut message, IFA_ADDRESS, &address.octets());
    if let Some(label) = label {
        put_attribute(&mut message, IFA_LABEL, &zero_terminated(label)?);
    }
    Ok(message)
}

fn zero_terminated(name: &str) -> io::Result<Vec<u8>> {
    if name.is_empty() || name.len() > LINK_NAME_BYTES_MAX || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a link"));
    }
    Ok([name.as_bytes(), &[0]].concat())
}

/// `struct rtattr`: length with this head, kind, value; padded to four bytes. Values here are at most 24 bytes.
fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use rustix::thread::{CapabilitySet, capabilities};
    use std::net::{TcpListener, TcpStream};

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
    const EADDRNOTAVAIL: i32 = 99;
    const EEXIST: i32 = 17;

    /// Runs in a network of its own, which only the test's thread is in. That takes a privilege: an ordinary user would need
    /// a user namespace, which no single thread can enter, and meets the same calls in the tests of `keycard run`.
    pub(crate) fn in_own_network(test: impl FnOnce(&RouteSocket) + Send + 'static) {
        let own = capabilities(None).unwrap().effective;
        if !own.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN) {
            return;
        }
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test(&RouteSocket::open().unwrap());
        })
        .join()
        .unwrap();
    }

    fn code(outcome: io::Result<()>) -> Option<i32> {
        outcome.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn an_address_on_loopback_is_listened_at_until_it_is_taken_away() {
        in_own_network(|route| {
            assert!(TcpStream::connect((ADDRESS, 80)).is_err());
            route.bring_up(LOOPBACK).unwrap();
            route.add_address(LOOPBACK, ADDRESS, None).unwrap();
            assert_eq!(code(route.add_address(LOOPBACK, ADDRESS, None)), Some(EEXIST));
            let listener = TcpListener::bind((ADDRESS, 80)).unwrap();
            TcpStream::connect((ADDRESS, 80)).unwrap();
            route.remove_address(LOOPBACK, ADDRESS, None).unwrap();
            // Some systems let listeners take an address that they have not; nobody reaches it there.
            assert!(TcpStream::connect((ADDRESS, 80)).is_err());
            drop(listener);
            assert_eq!(code(route.remove_address(LOOPBACK, ADDRESS, None)), Some(EADDRNOTAVAIL));
        });
    }

    #[test]
    fn an_address_is_taken_away_only_under_its_label() {
        in_own_network(|route| {
            route.add_address(LOOPBACK, ADDRESS, None).unwrap();
            let ours = Some("lo:keycard");
            assert_eq!(code(route.remove_address(LOOPBACK, ADDRESS, ours)), Some(EADDRNOTAVAIL));
            route.remove_address(LOOPBACK, ADDRESS, None).unwrap();
            route.add_address(LOOPBACK, ADDRESS, ours).unwrap();
            route.remove_address(LOOPBACK, ADDRESS, ours).unwrap();
        });
    }

    #[test]
    fn a_dummy_link_comes_and_goes_with_its_address() {
        in_own_network(|route| {
            // Not every kernel has dummy links.
            let Ok(link) = route.create_dummy("keycard0") else { return };
            assert_eq!(route.link("keycard0").unwrap(), link);
            route.bring_up(link).unwrap();
            route.add_address(link, ADDRESS, Some("keycard0")).unwrap();
            route.bring_up(LOOPBACK).unwrap();
            let _listener = TcpListener::bind((ADDRESS, 80)).unwrap();
            TcpStream::connect((ADDRESS, 80)).unwrap();
            route.delete_link(link).unwrap();
            assert!(TcpStream::connect((ADDRESS, 80)).is_err());
            assert!(route.link("keycard0").is_err());
        });
    }

    #[test]
    fn a_name_that_the_kernel_would_cut_is_refused() {
        for name in ["", "sixteen-bytes-xx", "a\0b"] {
            assert!(zero_terminated(name).is_err(), "{name:?}");
        }
        assert_eq!(zero_terminated("lo").unwrap(), b"lo\0");
    }

    #[test]
    fn only_an_acknowledgement_is_taken_for_one() {
        let answer = |kind: u16, code: i32| {
            let mut answer = vec![36, 0, 0, 0];
            answer.extend_from_slice(&kind.to_ne_bytes());
            answer.extend_from_slice(&[0; 10]);
            answer.extend_from_slice(&code.to_ne_bytes());
            answer
        };
        assert!(outcome(&answer(NLMSG_ERROR, 0)).is_ok());
        assert_eq!(code(outcome(&answer(NLMSG_ERROR, -EEXIST))), Some(EEXIST));
        assert!(outcome(&answer(3, 0)).is_err());
        assert!(outcome(&answer(NLMSG_ERROR, 0)[..18]).is_err());
        assert!(outcome(&[]).is_err());
    }
}
