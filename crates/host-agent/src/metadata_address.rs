//! 169.254.169.254 on this host, for as long as somebody holds it.
//!
//! It bears a label of keycard's, or is on a link of keycard's, so that what a killed process left behind is known and taken
//! over, and what others put there is left alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::io::Errno;

use crate::link_local::{LINK_NAME_BYTES_MAX, LOOPBACK, RouteSocket};

/// Where every metadata endpoint of Azure is.
pub const METADATA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80);
/// What the label of the address ends in.
const LABEL: &str = "keycard";
/// The dummy link, where one is wanted.
const DUMMY: &str = "keycard0";

/// The link that is to have the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChoice {
    /// One that exists: `lo` almost always.
    Present(String),
    /// A dummy link of its own, for hosts whose rules treat loopback in a way of their own.
    Dummy,
}

impl std::str::FromStr for LinkChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dummy" => Ok(Self::Dummy),
            name if !name.is_empty() && name.len() <= LINK_NAME_BYTES_MAX => {
                Ok(Self::Present(name.to_owned()))
            }
            _ => Err(format!("the name of a link has 1 to {LINK_NAME_BYTES_MAX} bytes")),
        }
    }
}

/// Why the address cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MetadataAddressError {
    /// No such link.
    #[error("this host has no link called {0}; `ip link` names those it has")]
    LinkNotFound(String),
    /// The process may not change the network.
    #[error(
        "this process may not put {} on a link: that takes CAP_NET_ADMIN (run it as root, or in a container with `cap_add: NET_ADMIN`)",
        METADATA.ip()
    )]
    NotPermitted,
    /// Another process put it there, or listens at it.
    #[error(
        "{} is taken: something else put it on this host or listens there (`ip address` and `ss -ltnp` show what)",
        METADATA
    )]
    Taken,
    /// Another failure.
    #[error("169.254.169.254 cannot be served here: {0}")]
    Failed(#[from] io::Error),
}

/// The address, held. Dropping it takes the address away.
#[derive(Debug)]
pub struct MetadataAddress {
    route: RouteSocket,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// On a link that was there before, under this label.
    Labelled { link: u32, label: String },
    /// With the link that has it.
    Link(u32),
}

impl MetadataAddress {
    /// Puts the address on a link of this network and listens at its port 80.
    pub fn listen(choice: &LinkChoice) -> Result<(Self, TcpListener), MetadataAddressError> {
        let route = RouteSocket::open()?;
        let held = match choice {
            LinkChoice::Present(name) => put_on(&route, name)?,
            LinkChoice::Dummy => put_on_dummy(&route)?,
        };
        let address = Self { route, held };
        match TcpListener::bind(METADATA) {
            Ok(listener) => Ok((address, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(MetadataAddressError::Taken)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(MetadataAddressError::NotPermitted)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for MetadataAddress {
    fn drop(&mut self) {
        let taken = match &self.held {
            Held::Labelled { link, label } => {
                self.route.remove_address(*link, *METADATA.ip(), Some(label))
            }
            Held::Link(link) => self.route.delete_link(*link),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "{} stays on this host", METADATA.ip());
        }
    }
}

/// Whoever listens there is alive; what a killed process left has no listener.
fn is_served() -> bool {
    TcpListener::bind(METADATA).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn put_on(route: &RouteSocket, name: &str) -> Result<Held, MetadataAddressError> {
    let link = match name {
        "lo" => LOOPBACK,
        name => {
            route.link(name).map_err(|_| MetadataAddressError::LinkNotFound(name.to_owned()))?
        }
    };
    let room = LINK_NAME_BYTES_MAX.saturating_sub(LABEL.len() + 1);
    if name.len() > room {
        let reason = format!("the name of the link has more than {room} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason).into());
    }
    let label = format!("{name}:{LABEL}");
    let add = || route.add_address(link, *METADATA.ip(), Some(&label));
    let added = match add() {
        Err(error) if errno(&error) == Some(Errno::EXIST) => {
            if is_served() || route.remove_address(link, *METADATA.ip(), Some(&label)).is_err() {
                return Err(MetadataAddressError::Taken);
            }
            add()
        }
        added => added,
    };
    added.map_err(refused)?;
    if link == LOOPBACK {
        route.bring_up(link)?;
    }
    Ok(Held::Labelled { link, label })
}

fn put_on_dummy(route: &RouteSocket) -> Result<Held, MetadataAddressError> {
    let created = match route.create_dummy(DUMMY) {
        Err(error) if errno(&error) == Some(Errno::EXIST) => {
            if is_served() {
                return Err(MetadataAddressError::Taken);
            }
            route.delete_link(route.link(DUMMY)?)?;
            route.create_dummy(DUMMY)
        }
        created => created,
    };
    let link = created.map_err(refused)?;
    let put =
        route.bring_up(link).and_then(|()| route.add_address(link, *METADATA.ip(), Some(DUMMY)));
    if let Err(error) = put {
        let _ = route.delete_link(link);
        return Err(refused(error));
    }
    Ok(Held::Link(link))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn refused(error: io::Error) -> MetadataAddressError {
    match errno(&error) {
        Some(Errno::PERM | Errno::ACCESS) => MetadataAddressError::NotPermitted,
        _ => MetadataAddressError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link_local::tests::in_own_network;
    use std::net::TcpStream;

    fn on_lo() -> LinkChoice {
        LinkChoice::Present("lo".to_owned())
    }

    fn is_here() -> bool {
        TcpListener::bind((*METADATA.ip(), 0)).is_ok()
    }

    #[test]
    fn the_address_is_here_while_it_is_held() {
        in_own_network(|_| {
            for choice in [on_lo(), LinkChoice::Dummy] {
                let (held, listener) = match MetadataAddress::listen(&choice) {
                    Ok(held) => held,
                    // Not every kernel has dummy links.
                    Err(MetadataAddressError::Failed(_)) if choice == LinkChoice::Dummy => return,
                    Err(error) => panic!("{choice:?}: {error}"),
                };
                TcpStream::connect(METADATA).unwrap();
                drop((held, listener));
                assert!(!is_here(), "{choice:?}");
            }
        });
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        in_own_network(|route| {
            route.add_address(LOOPBACK, *METADATA.ip(), Some("lo:keycard")).unwrap();
            drop(MetadataAddress::listen(&on_lo()).unwrap());
            assert!(!is_here());
            let Ok(link) = route.create_dummy(DUMMY) else { return };
            route.bring_up(link).unwrap();
            drop(MetadataAddress::listen(&LinkChoice::Dummy).unwrap());
            assert!(route.link(DUMMY).is_err());
        });
    }

    #[test]
    fn what_others_put_there_or_listen_at_is_left_to_them() {
        in_own_network(|route| {
            route.bring_up(LOOPBACK).unwrap();
            route.add_address(LOOPBACK, *METADATA.ip(), None).unwrap();
            let refused = MetadataAddress::listen(&on_lo()).map(|_| ());
            assert!(matches!(refused, Err(MetadataAddressError::Taken)), "{refused:?}");
            assert!(is_here());
            route.remove_address(LOOPBACK, *METADATA.ip(), None).unwrap();

            let first = MetadataAddress::listen(&on_lo()).unwrap();
            let second = MetadataAddress::listen(&on_lo()).map(|_| ());
            assert!(matches!(second, Err(MetadataAddressError::Taken)), "{second:?}");
            TcpStream::connect(METADATA).unwrap();
            drop(first);
        });
    }

    #[test]
    fn a_link_that_is_not_there_is_named() {
        in_own_network(|_| {
            let error = MetadataAddress::listen(&"eth9".parse().unwrap()).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("eth9"), "{error}");
        });
        assert!("".parse::<LinkChoice>().is_err());
        assert!("sixteen-bytes-xx".parse::<LinkChoice>().is_err());
        assert_eq!("dummy".parse(), Ok(LinkChoice::Dummy));
    }
}
