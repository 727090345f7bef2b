//! Functions of networks. Source: Azure Resource Manager, "CIDR functions".

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::super::error::ExpressionError;
use super::{Arguments, Function, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("parseCidr", (1, 1), |it| Ok(Network::of(it)?.shown())),
    pure("cidrSubnet", (3, 3), |it| {
        let (network, prefix, index) = (Network::of(it)?, it.integer(1)?, it.integer(2)?);
        let subnet = network.subnet(prefix, index);
        let none = || it.invalid("there is no such subnet in the network");
        subnet.map(|it| it.text().into()).ok_or_else(none)
    }),
    pure("cidrHost", (2, 2), |it| {
        let (network, index) = (Network::of(it)?, it.integer(1)?);
        let none = || it.invalid("there is no such host in the network");
        network.host(index).map(|host| network.address(host).into()).ok_or_else(none)
    }),
];

/// A network: its first address as a number, and the bits that all its addresses have in common.
#[derive(Clone, Copy)]
struct Network {
    first: u128,
    prefix: u32,
    /// 32 or 128.
    bits: u32,
}

/// The last so many bits.
fn low(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

impl Network {
    fn of(it: &Arguments<'_>) -> Result<Self, ExpressionError> {
        let text = it.text(0)?;
        let network = text.split_once('/').and_then(|(address, prefix)| {
            let (first, bits) = match address.parse().ok()? {
                IpAddr::V4(address) => (u128::from(address.to_bits()), Ipv4Addr::BITS),
                IpAddr::V6(address) => (address.to_bits(), Ipv6Addr::BITS),
            };
            let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= bits)?;
            Some(Self { first: first & !low(bits - prefix), prefix, bits })
        });
        network.ok_or_else(|| it.invalid("it is no range of addresses, as in '10.0.0.0/8'"))
    }

    fn last(self) -> u128 {
        self.first | low(self.bits - self.prefix)
    }

    fn is_v4(self) -> bool {
        self.bits == Ipv4Addr::BITS
    }

    fn address(self, number: u128) -> String {
        match u32::try_from(number) {
            Ok(number) if self.is_v4() => Ipv4Addr::from_bits(number).to_string(),
            _ => Ipv6Addr::from_bits(number).to_string(),
        }
    }

    fn text(self) -> String {
        format!("{}/{}", self.address(self.first), self.prefix)
    }

    /// Networks of version 4 keep their first address for themselves and their last one for all; those of one or two
    /// addresses have none to spare.
    fn usable(self) -> (u128, u128) {
        if self.is_v4() && self.prefix + 1 < self.bits {
            (self.first + 1, self.last() - 1)
        } else {
            (self.first, self.last())
        }
    }

    fn subnet(self, prefix: i64, index: i64) -> Option<Self> {
        let prefix =
            u32::try_from(prefix).ok().filter(|it| (self.prefix..=self.bits).contains(it))?;
        let index = u128::try_from(index).ok().filter(|it| *it <= low(prefix - self.prefix))?;
        let offset = index.checked_shl(self.bits - prefix).unwrap_or(0);
        Some(Self { first: self.first | offset, prefix, bits: self.bits })
    }

    /// The host at a place, the one after the network's own address at 0.
    fn host(self, index: i64) -> Option<u128> {
        let host = self.first.checked_add(u128::try_from(index).ok()?)?.checked_add(1)?;
        let (_, last) = self.usable();
        (host <= last).then_some(host)
    }

    fn shown(self) -> Value {
        let (first, last) = self.usable();
        let mut shown = json!({
            "network": self.address(self.first),
            "netmask": self.address(low(self.bits) & !low(self.bits - self.prefix)),
            "firstUsable": self.address(first),
            "lastUsable": self.address(last),
            "cidr": self.prefix,
        });
        if let Some(members) = shown.as_object_mut().filter(|_| self.is_v4()) {
            members.insert("broadcast".to_owned(), self.address(self.last()).into());
        }
        shown
    }
}
