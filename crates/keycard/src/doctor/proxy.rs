//! Proxies that would swallow what is for the local endpoints and for keycard's own names.

use super::{Finding, Surroundings, fault, good};

/// Where programs send plain requests: the metadata address and local endpoints.
const PLAIN: &[&str] = &["127.0.0.1", "localhost", "169.254.169.254"];
/// Where they send requests over TLS; the first stands for every name below the domain.
const SECURE: &[&str] = &["management.keycard.localhost", "localhost"];

/// The variables that name a proxy, and for which requests.
const PROXIES: &[(&str, &[&str])] = &[
    ("http_proxy", PLAIN),
    ("HTTP_PROXY", PLAIN),
    ("https_proxy", SECURE),
    ("HTTPS_PROXY", SECURE),
    ("all_proxy", PLAIN),
    ("ALL_PROXY", PLAIN),
];

const EXCEPTIONS: &[&str] = &["no_proxy", "NO_PROXY"];

const CURE: &str = "export NO_PROXY=localhost,.localhost,127.0.0.1,169.254.169.254 no_proxy=localhost,.localhost,127.0.0.1,169.254.169.254";

pub(super) fn look(surroundings: &Surroundings) -> Vec<Finding> {
    let faults: Vec<Finding> = PROXIES
        .iter()
        .filter(|(name, _)| surroundings.variable(name).is_some())
        .filter_map(|(name, hosts)| {
            let swallowed: Vec<&str> =
                hosts.iter().copied().filter(|host| !is_excepted(surroundings, host)).collect();
            (!swallowed.is_empty()).then(|| {
                fault(
                    "proxy",
                    format!("{name} sends what is for {} to a proxy", swallowed.join(", ")),
                    CURE,
                )
            })
        })
        .collect();
    if !faults.is_empty() {
        return faults;
    }
    vec![good("proxy", "no proxy stands between programs and their local endpoints")]
}

/// Whether every SDK leaves the proxy out. Python and curl read the lower-case variable first, Go and JavaScript the other,
/// so where both are set both have to say it.
fn is_excepted(surroundings: &Surroundings, host: &str) -> bool {
    let lists: Vec<&str> =
        EXCEPTIONS.iter().filter_map(|name| surroundings.variable(name)).collect();
    !lists.is_empty() && lists.iter().all(|list| list.split(',').any(|one| covers(one, host)))
}

/// What all of them understand: the name itself, or a domain with a dot before it. `*`, blocks of addresses and domains
/// without the dot mean nothing to the JavaScript SDKs (@azure/core-rest-pipeline, proxyPolicy).
fn covers(exception: &str, host: &str) -> bool {
    let exception = exception.trim();
    exception.eq_ignore_ascii_case(host)
        || (exception.starts_with('.')
            && host.to_ascii_lowercase().ends_with(&exception.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_a_name_or_a_domain() {
        assert!(covers(" 127.0.0.1 ", "127.0.0.1") && covers(".localhost", "a.localhost"));
        assert!(!covers("*", "127.0.0.1") && !covers("127.0.0.0/8", "127.0.0.1"));
        assert!(!covers("calhost", "localhost") && !covers("", "localhost"));
    }
}
