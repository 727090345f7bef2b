//! The files by which programs find out what names mean: `hosts`, `nsswitch.conf`, `resolv.conf`, and the sockets of
//! daemons on the host that would answer instead.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use keycard_wire::host_names::is_claimed;

use super::mounts::Layer;
use super::protocol::RESOLVER;

/// Sockets with a path, which are reached from every network.
const DAEMON_SOCKETS: &[&str] = &[
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
];

/// Puts them in place; `names` are those of allowed services.
pub(super) fn cover(layer: &mut Layer, names: &[(String, Ipv4Addr)]) -> io::Result<()> {
    let old = |path: &str| fs::read_to_string(path).unwrap_or_default();
    layer.cover_file(Path::new("/etc/hosts"), hosts(&old("/etc/hosts"), names).as_bytes())?;
    let nsswitch = nsswitch(&old("/etc/nsswitch.conf"));
    layer.cover_file(Path::new("/etc/nsswitch.conf"), nsswitch.as_bytes())?;
    let resolver = format!("nameserver {}\noptions timeout:1\n", RESOLVER.ip());
    layer.cover_file(Path::new("/etc/resolv.conf"), resolver.as_bytes())?;
    for socket in DAEMON_SOCKETS {
        layer.cover_file(Path::new(socket), b"")?;
    }
    Ok(())
}

/// The host's lines without those that name a host of Azure, which companies pin to private endpoints, or an allowed
/// service; then the allowed services.
fn hosts(old: &str, names: &[(String, Ipv4Addr)]) -> String {
    let is_ours = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        is_claimed(&name) || names.iter().any(|(own, _)| *own == name)
    };
    let is_kept = |line: &&str| {
        let content = line.split('#').next().unwrap_or_default();
        !content.split_whitespace().skip(1).any(is_ours)
    };
    let mut hosts: String = old.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    if !hosts.contains("localhost") {
        hosts.push_str("127.0.0.1 localhost\n");
    }
    for (name, address) in names {
        hosts.push_str(&format!("{address} {name}\n"));
    }
    hosts
}

/// Host names come from the file and from DNS, and from nobody else.
fn nsswitch(old: &str) -> String {
    let is_kept = |line: &&str| !line.trim_start().starts_with("hosts:");
    let kept = old.lines().filter(is_kept).map(|line| format!("{line}\n"));
    kept.chain(["hosts: files dns\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_hosts_of_azure_are_dropped_and_allowed_services_added() {
        let old = "127.0.0.1 localhost # kv.vault.azure.net\n10.0.0.4 KV.vault.azure.net kv\n\
                   10.0.0.5 db.internal\n10.0.0.6 other\n";
        let names = [("db.internal".to_owned(), Ipv4Addr::new(10, 254, 254, 2))];
        assert_eq!(
            hosts(old, &names),
            "127.0.0.1 localhost # kv.vault.azure.net\n10.0.0.6 other\n10.254.254.2 db.internal\n"
        );
        assert_eq!(hosts("", &[]), "127.0.0.1 localhost\n");
    }

    #[test]
    fn only_the_line_of_host_names_is_changed() {
        assert_eq!(
            nsswitch("passwd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files\n"),
            "passwd: files systemd\nhosts: files dns\n"
        );
        assert_eq!(nsswitch(""), "hosts: files dns\n");
    }
}
