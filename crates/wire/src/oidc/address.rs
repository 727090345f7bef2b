//! Where an issuer may be: a URL taken apart, and the addresses that are asked. Anybody who may write a federated
//! credential chooses the URL, so what it leads to must not be a machine that only we can reach.
//!
//! Source: RFC 6890 and the IANA registries of special-purpose addresses; OWASP, "Server-Side Request Forgery Prevention".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use http::Uri;
use keycard_domain::token::federation::IssuerKeysError;
use tokio::sync::Semaphore;

/// Whether issuers on this machine are asked, also by plain http: for development and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalIssuers {
    /// They are.
    Allowed,
    /// They are not.
    Refused,
}

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// A URL that may be asked, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    /// Host and port as the URL writes them: the header `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
    port: u16,
}

fn not_allowed(reason: String) -> IssuerKeysError {
    IssuerKeysError::NotAllowed(reason)
}

impl Endpoint {
    /// Takes a URL apart; https only, or http where issuers on this machine are allowed.
    pub(super) fn parse(url: &str, local: LocalIssuers) -> Result<Self, IssuerKeysError> {
        let malformed = || not_allowed("its address is malformed".to_owned());
        let is_strange = |c: char| {
            !c.is_ascii() || c.is_whitespace() || c.is_control() || matches!(c, '#' | '\\')
        };
        if url.contains(is_strange) {
            return Err(malformed());
        }
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let (is_tls, default_port) = match (uri.scheme_str(), local) {
            (Some("https"), _) => (true, 443),
            (Some("http"), LocalIssuers::Allowed) => (false, 80),
            (Some("http"), LocalIssuers::Refused) => {
                return Err(not_allowed(format!("its address is not https{LOCAL_HINT}")));
            }
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // A name and password before the host are for nobody but whoever reads the URL wrongly.
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(malformed());
        }
        let port = authority.port_u16().unwrap_or(default_port);
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { is_tls, host, authority: authority.to_string(), target, port })
    }

    /// The addresses of the host, when all of them may be asked. The connection goes to one of these and to no other: a
    /// name that means something else a moment later changes nothing.
    pub(super) async fn addresses(
        &self,
        local: LocalIssuers,
        resolutions: &Arc<Semaphore>,
    ) -> Result<Vec<SocketAddr>, IssuerKeysError> {
        let found = match self.known_address() {
            Some(address) => vec![SocketAddr::new(address, self.port)],
            None => self.resolve(resolutions).await?,
        };
        if found.is_empty() {
            return Err(IssuerKeysError::Unreachable("its name has no address".to_owned()));
        }
        found.iter().try_for_each(|address| self.check(address.ip(), local))?;
        Ok(found)
    }

    /// Asks the system's resolver. It cannot be stopped: a resolution counts until it ends, also when nobody waits for it.
    async fn resolve(
        &self,
        resolutions: &Arc<Semaphore>,
    ) -> Result<Vec<SocketAddr>, IssuerKeysError> {
        let permit =
            Arc::clone(resolutions).try_acquire_owned().map_err(|_| IssuerKeysError::Busy)?;
        let (host, port) = (self.host.clone(), self.port);
        let resolution = tokio::task::spawn_blocking(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            drop(permit);
            found.map(|found| found.take(ADDRESSES_MAX).collect())
        });
        let unreachable = |reason: String| IssuerKeysError::Unreachable(reason);
        let found = resolution.await.map_err(|error| unreachable(error.to_string()))?;
        found.map_err(|error| unreachable(error.to_string()))
    }

    /// The address of a host that is one, or a name of this machine. Source of the names: RFC 6761, section 6.3.
    fn known_address(&self) -> Option<IpAddr> {
        let name = self.host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        self.host.parse().ok().or_else(|| is_local.then_some(Ipv4Addr::LOCALHOST.into()))
    }

    fn check(&self, address: IpAddr, local: LocalIssuers) -> Result<(), IssuerKeysError> {
        if address.is_loopback() && local == LocalIssuers::Allowed {
            return Ok(());
        }
        if address.is_loopback() {
            return Err(not_allowed(format!("its address is this machine{LOCAL_HINT}")));
        }
        if !is_public(address) {
            return Err(not_allowed("its address is not a public one".to_owned()));
        }
        if !self.is_tls {
            return Err(not_allowed("its address is not https".to_owned()));
        }
        Ok(())
    }
}

/// What to do about a refusal that is meant for production.
const LOCAL_HINT: &str = "; for development, start with: keycard up --allow-local-issuers";

/// Whether everybody reaches the same machine under this address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]                  // this network, private, loopback
            | [100, 64..=127, ..]           // behind a carrier's NAT
            | [169, 254, ..]                // link-local: metadata services
            | [172, 16..=31, ..]            // private
            | [192, 0, 0 | 2, _]            // protocol assignments, documentation
            | [192, 88, 99, _]              // 6to4 relays
            | [192, 168, ..]                // private
            | [198, 18 | 19, ..]            // benchmarks
            | [198, 51, 100, _]             // documentation
            | [203, 0, 113, _]              // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Global unicast without the parts that lead to an IPv4 address or nowhere. Outside it lie loopback, unspecified,
/// IPv4-mapped, NAT64, unique local, link-local and multicast addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_global_unicast = matches!(address.segments(), [0x2000..=0x3fff, ..]);
    let is_special = matches!(
        address.segments(),
        [0x2001, 0..=0x01ff, ..]            // protocol assignments, Teredo, benchmarks
            | [0x2001, 0x0db8, ..]          // documentation
            | [0x2002, ..]                  // 6to4
            | [0x3fff, 0..=0x0fff, ..] // documentation
    );
    is_global_unicast && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, public: bool) {
        assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
    }

    #[test]
    fn only_addresses_that_everybody_reaches_are_public() {
        for address in [
            "1.1.1.1",
            "20.190.151.7",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a01:111::1",
            "2001:200::1",
        ] {
            check(address, true);
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "::1.1.1.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            check(address, false);
        }
    }

    #[tokio::test]
    async fn an_address_is_https_and_public_or_local_and_allowed() {
        let refused = |reason: &str| Err(reason.to_owned());
        let resolutions = Arc::new(Semaphore::new(0));
        let reached = async |url: &str, local: LocalIssuers| {
            let endpoint = Endpoint::parse(url, local).map_err(|error| error.to_string())?;
            let found = endpoint.addresses(local, &resolutions).await;
            let found = found.map_err(|error| error.to_string())?;
            Ok::<String, String>(found[0].to_string())
        };
        let (allowed, strict) = (LocalIssuers::Allowed, LocalIssuers::Refused);
        let malformed = || refused("its address is malformed");
        let private = || refused("its address is not a public one");
        let hint = "; for development, start with: keycard up --allow-local-issuers";
        let this_machine = || refused(&format!("its address is this machine{hint}"));
        for (url, local, expected) in [
            ("https://1.1.1.1/x", strict, Ok("1.1.1.1:443".to_owned())),
            ("https://1.1.1.1:8443/x", strict, Ok("1.1.1.1:8443".to_owned())),
            ("https://[2606:4700::1111]/x", strict, Ok("[2606:4700::1111]:443".to_owned())),
            ("http://1.1.1.1/", strict, refused(&format!("its address is not https{hint}"))),
            ("http://1.1.1.1/", allowed, refused("its address is not https")),
            ("https://127.0.0.1/", strict, this_machine()),
            ("https://localhost/", strict, this_machine()),
            ("https://a.LOCALHOST./", strict, this_machine()),
            ("https://[::1]/", strict, this_machine()),
            ("http://127.0.0.1:81/", allowed, Ok("127.0.0.1:81".to_owned())),
            ("http://a.localhost:81/", allowed, Ok("127.0.0.1:81".to_owned())),
            ("https://[::1]/", allowed, Ok("[::1]:443".to_owned())),
            ("https://[::ffff:127.0.0.1]/", allowed, private()),
            ("https://[::ffff:127.0.0.1]/", strict, private()),
            ("https://169.254.169.254/", allowed, private()),
            ("https://10.0.0.1/", strict, private()),
            ("https://1.1.1.1/@x", strict, Ok("1.1.1.1:443".to_owned())),
            ("https://name.example/", strict, refused("too many issuers are being asked")),
            ("https://u@1.1.1.1/", strict, malformed()),
            ("https://u:p@127.0.0.1:1@1.1.1.1/", strict, malformed()),
            ("https://1.1.1.1#x", strict, malformed()),
            ("https://1.1.1.1\\@127.0.0.1/", strict, malformed()),
            ("https://", strict, malformed()),
            ("ftp://1.1.1.1/", allowed, malformed()),
            ("1.1.1.1", strict, malformed()),
            ("https://1.1.1.1 /", strict, malformed()),
        ] {
            assert_eq!(reached(url, local).await, expected, "{url} {local:?}");
        }
    }
}
