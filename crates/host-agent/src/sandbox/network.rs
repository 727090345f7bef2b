//! The network inside: a loopback with a few addresses and no way out, and the listeners that keycard serves from outside.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::protocol::{
    self, APP_SERVICE, AZURE, Allowed, CLOUD_SHELL, HandOver, Handed, METADATA, RESOLVER, Welcome,
};
use super::refusal::{Refusal, Step};
use super::socket_maker;
use crate::link_local::{LOOPBACK, RouteSocket};

const EEXIST: i32 = 17;

/// The sockets of a sandbox, before they are handed over.
#[derive(Debug)]
pub(super) struct Network {
    sockets: Vec<(Handed, OwnedFd)>,
    /// Names of allowed services, with the addresses that they have inside.
    names: Vec<(String, Ipv4Addr)>,
}

impl Network {
    /// Sets up the network that this process is in, which has to be empty.
    pub(super) fn set_up(allow: &[Allowed], welcome: &Welcome) -> Result<Self, Refusal> {
        let mut network = Self { sockets: Vec::new(), names: Vec::new() };
        let failed = |error: io::Error| Refusal::at(Step::Network, &error);
        let route = RouteSocket::open().map_err(failed)?;
        route.bring_up(LOOPBACK).map_err(failed)?;
        network.listen_as_keycard(&route, welcome).map_err(failed)?;
        for (place, allowed) in allow.iter().enumerate() {
            network.listen_for(&route, place, allowed).map_err(|error| {
                let Allowed { host, port } = allowed;
                Refusal::new(format!("--allow {host}:{port}: inside, {error}"))
            })?;
        }
        network.listen_as_cloud_shell(&route).map_err(failed)?;
        Ok(network)
    }

    fn listen_as_keycard(&mut self, route: &RouteSocket, welcome: &Welcome) -> io::Result<()> {
        self.listen(route, Handed::Metadata, METADATA)?;
        self.listen(route, Handed::Azure, AZURE)?;
        let own = SocketAddrV4::new(Ipv4Addr::LOCALHOST, welcome.own_port);
        self.listen(route, Handed::Own, own)?;
        self.listen(route, Handed::ResolverTcp, RESOLVER)?;
        self.sockets.push((Handed::ResolverUdp, UdpSocket::bind(RESOLVER)?.into()));
        if welcome.app_service.is_some() {
            self.listen(route, Handed::AppService, APP_SERVICE)?;
        }
        Ok(())
    }

    /// Few programs ask for it: what else is to be at its port comes first.
    fn listen_as_cloud_shell(&mut self, route: &RouteSocket) -> io::Result<()> {
        match self.listen(route, Handed::CloudShell, CLOUD_SHELL) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            outcome => outcome,
        }
    }

    /// A service keeps the address by which it is asked for, and each name gets one of its own.
    fn listen_for(
        &mut self,
        route: &RouteSocket,
        place: usize,
        allowed: &Allowed,
    ) -> io::Result<()> {
        let name = allowed.host.to_ascii_lowercase();
        let address = match name.parse() {
            Ok(address) => address,
            Err(_) if name == "localhost" => Ipv4Addr::LOCALHOST,
            Err(_) => self.address_of(name),
        };
        self.listen(route, Handed::Allowed(place), SocketAddrV4::new(address, allowed.port))
    }

    fn address_of(&mut self, name: String) -> Ipv4Addr {
        if let Some((_, address)) = self.names.iter().find(|(known, _)| *known == name) {
            return *address;
        }
        let [a, b, c, d] = AZURE.ip().octets();
        // There are at most `OPENINGS_MAX` names.
        let number = u8::try_from(self.names.len() + 1).unwrap_or(u8::MAX);
        let address = Ipv4Addr::new(a, b, c, d.saturating_add(number));
        self.names.push((name, address));
        address
    }

    fn listen(
        &mut self,
        route: &RouteSocket,
        kind: Handed,
        address: SocketAddrV4,
    ) -> io::Result<()> {
        if !address.ip().is_loopback() {
            match route.add_address(LOOPBACK, *address.ip(), None) {
                Err(error) if error.raw_os_error() == Some(EEXIST) => {}
                outcome => outcome?,
            }
        }
        self.sockets.push((kind, TcpListener::bind(address)?.into()));
        Ok(())
    }

    /// Lets the host reach ports inside: only a process that is inside can make the sockets for that.
    pub(super) fn add_socket_maker(&mut self) -> Result<(), Refusal> {
        let maker = socket_maker::start().map_err(|error| {
            Refusal::new(format!("--publish: no process can be started: {error}"))
        })?;
        self.sockets.push((Handed::SocketMaker, maker.into()));
        Ok(())
    }

    pub(super) fn names(&self) -> &[(String, Ipv4Addr)] {
        &self.names
    }

    pub(super) fn hand_over(&self, control: &UnixStream) -> Result<(), Refusal> {
        let sockets = self.sockets.iter().map(|(kind, _)| kind.clone()).collect();
        let message = HandOver { sockets, names: self.names.clone() };
        let descriptors: Vec<BorrowedFd<'_>> =
            self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        protocol::send_with(control, &message, &descriptors).map_err(|error| {
            Refusal::new(format!("the running keycard does not take the sockets ({error})"))
        })
    }
}
