//! Host names: which face a request is for. The `Host` decides, under keycard's own domain and under Azure's names.

use http::Uri;
use http::request::Parts;

/// Which face a host name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaceName {
    /// Azure Resource Manager.
    ResourceManager,
    /// The token service.
    TokenService,
    /// Microsoft Graph.
    Graph,
    /// The vault with this name.
    KeyVault(String),
    /// The storage account with this name.
    Blob(String),
    /// The check endpoint for proxies.
    Authorize,
    /// Where keys would be attested.
    Attestation,
    /// The issuer of clusters.
    ClusterIssuer,
    /// The portal.
    Portal,
    /// `localhost` itself: the path decides.
    Loopback,
}

/// The names under which keycard is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames {
    domain: String,
    port: u16,
}

/// The token service's name at which it asks for certificates.
pub const MTLS_LOGIN: &str = "mtlsauth";

/// Where keys would be attested.
pub const ATTESTATION: &str = "attestation";

/// The names that the server's certificate carries besides the own domain.
pub const AZURE_SUFFIXES: &[&str] = &[
    "management.azure.com",
    "login.microsoftonline.com",
    "login.windows.net",
    "sts.windows.net",
    "graph.microsoft.com",
    "vault.azure.net",
    "blob.core.windows.net",
    "database.windows.net",
];

/// The domains of which a sandbox claims every name, and the only ones of Azure's that the local authority may issue for.
pub const CLAIMED_DOMAINS: &[&str] = &[
    "azure.com",
    "azure.net",
    "windows.net",
    "microsoftonline.com",
    "microsoft.com",
    "azure-api.net",
    "azurecr.io",
];

/// Whether a name, in lower case and without a final dot, is of a claimed domain.
pub fn is_claimed(name: &str) -> bool {
    CLAIMED_DOMAINS.iter().any(|domain| {
        name.strip_suffix(domain).is_some_and(|left| left.is_empty() || left.ends_with('.'))
    })
}

impl HostNames {
    /// The names below a domain, at a port.
    pub fn new(domain: &str, port: u16) -> Self {
        Self { domain: domain.to_ascii_lowercase(), port }
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The port of the listener.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `https://{name}.DOMAIN[:port]`, without a final slash.
    pub fn url(&self, name: &str) -> String {
        format!("https://{}", self.authority(&format!("{name}.{}", self.domain)))
    }

    /// `https://localhost[:port]`.
    pub fn loopback_url(&self) -> String {
        format!("https://{}", self.authority("localhost"))
    }

    /// A host with the port, which is left out where it is HTTPS's own.
    pub fn authority(&self, host: &str) -> String {
        if self.port == 443 { host.to_owned() } else { format!("{host}:{}", self.port) }
    }

    /// Every DNS name of the server's certificate.
    pub fn certificate_names(&self) -> Vec<String> {
        let own =
            ["management", "login", MTLS_LOGIN, "graph", "authorize", "oic", "portal", ATTESTATION]
                .map(|name| format!("{name}.{}", self.domain));
        let own_wildcards =
            ["vault", "blob.storage", "database"].map(|name| format!("*.{name}.{}", self.domain));
        let azure = AZURE_SUFFIXES.iter().map(|name| (*name).to_owned());
        let azure_wildcards = ["vault.azure.net", "blob.core.windows.net", "database.windows.net"]
            .map(|name| format!("*.{name}"));
        own.into_iter()
            .chain(own_wildcards)
            .chain(azure)
            .chain(azure_wildcards)
            .chain(["localhost".to_owned()])
            .collect()
    }

    /// Whether who connects under a name is asked for a certificate: where tokens are bound to one, and where such tokens
    /// are taken. Everybody else is spared the question, which browsers pass on to people.
    pub fn asks_for_certificate(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let is_login = host.strip_suffix(&self.domain).and_then(|name| name.strip_suffix('.'))
            == Some(MTLS_LOGIN);
        is_login || matches!(self.face(&host), Some(FaceName::KeyVault(_)))
    }

    /// The face that a host name means; `None` when it is none of ours.
    pub fn face(&self, host: &str) -> Option<FaceName> {
        let host = host.to_ascii_lowercase();
        match host.as_str() {
            "localhost" | "127.0.0.1" | "[::1]" => return Some(FaceName::Loopback),
            "management.azure.com" => return Some(FaceName::ResourceManager),
            "login.microsoftonline.com" | "login.windows.net" | "sts.windows.net" => {
                return Some(FaceName::TokenService);
            }
            "graph.microsoft.com" => return Some(FaceName::Graph),
            _ => {}
        }
        if let Some(name) = host.strip_suffix(".vault.azure.net") {
            return label(name).map(FaceName::KeyVault);
        }
        if let Some(name) = host.strip_suffix(".blob.core.windows.net") {
            return label(name).map(FaceName::Blob);
        }
        self.own_face(host.strip_suffix(&self.domain)?.strip_suffix('.')?)
    }

    fn own_face(&self, name: &str) -> Option<FaceName> {
        match name {
            "management" => Some(FaceName::ResourceManager),
            "login" | MTLS_LOGIN => Some(FaceName::TokenService),
            ATTESTATION => Some(FaceName::Attestation),
            "graph" => Some(FaceName::Graph),
            "authorize" => Some(FaceName::Authorize),
            "oic" => Some(FaceName::ClusterIssuer),
            "portal" => Some(FaceName::Portal),
            _ => match name.split_once('.')? {
                (vault, "vault") => label(vault).map(FaceName::KeyVault),
                (account, "blob.storage") => label(account).map(FaceName::Blob),
                _ => None,
            },
        }
    }
}

fn label(name: &str) -> Option<String> {
    (!name.is_empty() && !name.contains('.')).then(|| name.to_owned())
}

/// The authority a request is addressed to, as the client wrote it: from the absolute target or HTTP/2's `:authority`,
/// else from the one `Host` header. `None` when there is none or two disagree.
pub fn requested_authority(parts: &Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return None;
    }
    let host = match host {
        Some(host) => Some(host.to_str().ok()?),
        None => None,
    };
    match (parts.uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => None,
        (Some(authority), _) | (None, Some(authority)) => Some(authority.to_owned()),
        (None, None) => None,
    }
}

/// The host of an authority, without its port.
pub fn host_of(authority: &str) -> Option<String> {
    let uri: Uri = format!("http://{authority}/").parse().ok()?;
    uri.authority()
        .filter(|parsed| !parsed.as_str().contains('@'))
        .map(|parsed| parsed.host().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, face: Option<&FaceName>) {
        assert_eq!(HostNames::new("keycard.localhost", 8443).face(host).as_ref(), face, "{host}");
    }

    #[test]
    fn every_name_of_a_claimed_domain_is_claimed_and_no_other() {
        for name in AZURE_SUFFIXES.iter().chain(CLAIMED_DOMAINS).chain(&["a.b.azurecr.io"]) {
            assert!(is_claimed(name), "{name}");
        }
        for name in ["", "com", "evilazure.net", "azure.net.evil", "github.com", "vault.azure.net."]
        {
            assert!(!is_claimed(name), "{name}");
        }
    }

    #[test]
    fn names_lead_to_faces() {
        check("management.keycard.localhost", Some(&FaceName::ResourceManager));
        check("MANAGEMENT.azure.com", Some(&FaceName::ResourceManager));
        check("kv1.vault.keycard.localhost", Some(&FaceName::KeyVault("kv1".into())));
        check("KV1.vault.azure.net", Some(&FaceName::KeyVault("kv1".into())));
        check("a.b.vault.azure.net", None);
        check("vault.azure.net", None);
        check("acct.blob.storage.keycard.localhost", Some(&FaceName::Blob("acct".into())));
        check("mtlsauth.keycard.localhost", Some(&FaceName::TokenService));
        check("attestation.keycard.localhost", Some(&FaceName::Attestation));
        check("localhost", Some(&FaceName::Loopback));
        check("keycard.localhost", None);
        check("evil.example", None);
        check("managementkeycard.localhost", None);
    }

    #[test]
    fn certificates_are_asked_for_where_tokens_are_bound() {
        let names = HostNames::new("keycard.localhost", 8443);
        for (host, asks) in [
            ("mtlsauth.keycard.localhost", true),
            ("MTLSAUTH.keycard.localhost", true),
            ("kv1.vault.keycard.localhost", true),
            ("kv1.vault.azure.net", true),
            ("login.keycard.localhost", false),
            ("management.azure.com", false),
            ("mtlsauth.example", false),
            ("x.mtlsauth.keycard.localhost", false),
            ("localhost", false),
        ] {
            assert_eq!(names.asks_for_certificate(host), asks, "{host}");
        }
    }

    #[test]
    fn a_request_that_names_two_hosts_names_none() {
        let request = |uri: &str, hosts: &[&str]| {
            let mut builder = http::Request::builder().uri(uri);
            for host in hosts {
                builder = builder.header("host", *host);
            }
            requested_authority(&builder.body(()).unwrap().into_parts().0)
        };
        assert_eq!(request("/", &["a:1"]), Some("a:1".into()));
        assert_eq!(request("/", &["a", "b"]), None);
        assert_eq!(request("/", &[]), None);
        assert_eq!(request("http://a/", &["b"]), None);
        assert_eq!(request("http://a/", &["A"]), Some("a".into()));
        assert_eq!(host_of("a:1"), Some("a".into()));
        assert_eq!(host_of("u@a:1"), None);
    }
}
