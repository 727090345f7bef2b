//! The `network` part of a machine's metadata: its interfaces with their addresses and subnets.

use keycard_domain::compute::machine::{Interface, IpConfiguration, Machine};
use serde_json::{Value, json};

pub(super) fn document(machine: &Machine) -> Value {
    let interfaces: Vec<Value> = machine.interfaces.iter().map(interface).collect();
    json!({ "interface": interfaces })
}

fn interface(interface: &Interface) -> Value {
    let ipv4: Vec<Value> = interface.ipv4.iter().map(ipv4_address).collect();
    let ipv6: Vec<Value> = interface.ipv6.iter().map(ipv6_address).collect();
    json!({
        "ipv4": { "ipAddress": ipv4, "subnet": subnets(&interface.ipv4) },
        "ipv6": { "ipAddress": ipv6 },
        "macAddress": interface.mac_address,
    })
}

fn ipv4_address(of: &IpConfiguration) -> Value {
    json!({ "privateIpAddress": of.private_address, "publicIpAddress": of.public_address })
}

fn ipv6_address(of: &IpConfiguration) -> Value {
    json!({ "privateIpAddress": of.private_address })
}

/// Each subnet once, `10.0.0.0/24` in its two parts.
fn subnets(configurations: &[IpConfiguration]) -> Vec<Value> {
    let mut seen: Vec<&str> = Vec::new();
    for configuration in configurations {
        let prefix = configuration.subnet_prefix.as_str();
        if !prefix.is_empty() && !seen.contains(&prefix) {
            seen.push(prefix);
        }
    }
    let parts = seen.into_iter().map(|prefix| prefix.split_once('/').unwrap_or((prefix, "")));
    parts.map(|(address, prefix)| json!({ "address": address, "prefix": prefix })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_shows_its_addresses_and_each_subnet_once() {
        let at = |private: &str, public: &str| IpConfiguration {
            private_address: private.into(),
            public_address: public.into(),
            subnet_prefix: "10.0.0.0/24".into(),
        };
        let shown = interface(&Interface {
            mac_address: "000D3A0102FF".into(),
            ipv4: vec![at("10.0.0.4", "40.0.0.1"), at("10.0.0.5", "")],
            ipv6: vec![IpConfiguration { private_address: "fd00::4".into(), ..Default::default() }],
        });
        assert_eq!(
            shown,
            json!({
                "ipv4": {
                    "ipAddress": [
                        { "privateIpAddress": "10.0.0.4", "publicIpAddress": "40.0.0.1" },
                        { "privateIpAddress": "10.0.0.5", "publicIpAddress": "" },
                    ],
                    "subnet": [{ "address": "10.0.0.0", "prefix": "24" }],
                },
                "ipv6": { "ipAddress": [{ "privateIpAddress": "fd00::4" }] },
                "macAddress": "000D3A0102FF",
            })
        );
    }
}
