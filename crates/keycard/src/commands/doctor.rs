//! `keycard doctor`: what keeps programs on this machine from reaching keycard, with a cure for each fault.
//!
//! It looks and asks; it changes nothing, and never sends a byte to a metadata address that is not keycard's own.

use std::net::{IpAddr, Ipv4Addr, TcpListener, ToSocketAddrs, UdpSocket};

use http::Method;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Failure, Output, ServerChoice, client, print};
use crate::client::{Administration, Client, request};
use crate::config::set_variables;
use crate::description::Description;

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or lines for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What one look found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    /// Whether it is as it should be.
    ok: bool,
    /// What was seen.
    seen: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

fn good(check: &'static str, seen: impl Into<String>) -> Finding {
    Finding { check, ok: true, seen: seen.into(), cure: None }
}

fn fault(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { check, ok: false, seen: seen.into(), cure: Some(cure.into()) }
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut findings = Vec::new();
        match self.server.description() {
            Err(failure) => {
                findings.push(fault("server", failure.0, "keycard up"));
                findings.push(default_port());
            }
            Ok(description) => findings.extend(look_at_server(&description).await),
        }
        findings.push(proxies());
        findings.push(stray_variables());
        findings.push(link_local());
        match self.output {
            Output::Json => print(&serde_json::to_string(&findings)?)?,
            Output::Table => {
                for finding in &findings {
                    print(&line(finding))?;
                }
            }
        }
        let faults = findings.iter().filter(|finding| !finding.ok).count();
        if faults == 0 {
            Ok(())
        } else {
            Err(Failure(format!("{faults} of {} checks failed", findings.len())))
        }
    }
}

fn line(finding: &Finding) -> String {
    let mark = if finding.ok { "ok   " } else { "FAULT" };
    let cure = finding.cure.as_ref().map(|cure| format!("\n               cure: {cure}"));
    format!("{mark}  {:<7} {}{}", finding.check, finding.seen, cure.unwrap_or_default())
}

async fn look_at_server(description: &Description) -> Vec<Finding> {
    let mut findings = vec![trust_files(description), names(description)];
    let client = match client(description) {
        Ok(client) => client,
        Err(failure) => {
            findings.push(fault("server", failure.0, "start it again: keycard up"));
            return findings;
        }
    };
    match Administration::sign_in(client.clone(), description).await {
        Err(error) => {
            findings.push(fault("server", error.to_string(), "start it again: keycard up"));
        }
        Ok(administration) => {
            let loopback = &description.endpoints.loopback;
            findings.push(good(
                "server",
                format!("{loopback} answers, and its certificate is trusted"),
            ));
            findings.push(local_endpoints(&client, &administration).await);
        }
    }
    findings
}

fn trust_files(description: &Description) -> Finding {
    let missing = [&description.ca_file, &description.ca_bundle_file]
        .into_iter()
        .find(|path| std::fs::metadata(path).is_err());
    match missing {
        Some(path) => {
            fault("trust", format!("{path} is not there"), "start the server again: keycard up")
        }
        None => {
            let set =
                set_variables(&["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"]);
            let known = [&description.ca_file, &description.ca_bundle_file];
            match set.iter().find(|(_, value)| !known.contains(&value)) {
                Some((name, value)) => fault(
                    "trust",
                    format!("{name} is {value}, which does not hold keycard's CA"),
                    "eval \"$(keycard env --as RESOURCE)\"",
                ),
                None if set.is_empty() => good(
                    "trust",
                    format!(
                        "CA at {}; `keycard env` sets the variable of each SDK",
                        description.ca_file
                    ),
                ),
                None => good("trust", "the trust variables of this shell hold keycard's CA"),
            }
        }
    }
}

/// Whether the system's resolver knows the names below the domain.
fn names(description: &Description) -> Finding {
    let url = &description.endpoints.resource_manager;
    let host = url.trim_start_matches("https://").split(':').next().unwrap_or_default();
    let resolved = (host, 443).to_socket_addrs();
    let is_loopback = resolved.is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()));
    if is_loopback {
        return good("names", format!("{host} is this machine"));
    }
    fault(
        "names",
        format!("{host} does not resolve to this machine; plain glibc does not know *.localhost"),
        format!(
            "apt-get install libnss-myhostname, or add to /etc/hosts: 127.0.0.1 {host} (and each vault's name); https://localhost reaches Resource Manager and the token service without"
        ),
    )
}

fn default_port() -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 8443)) {
        Ok(_) => good("ports", "127.0.0.1:8443 is free"),
        Err(error) => fault(
            "ports",
            format!("127.0.0.1:8443 cannot be listened at: {error}"),
            "end the program that holds it, or choose another: keycard up --port 9443",
        ),
    }
}

/// The programs' HTTP libraries send link-local requests to a proxy, unless told otherwise.
fn proxies() -> Finding {
    let proxies = set_variables(&[
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ]);
    let exceptions = set_variables(&["NO_PROXY", "no_proxy"]);
    let is_excepted =
        |host: &str| exceptions.iter().any(|(_, value)| value.split(',').any(|e| e.trim() == host));
    match proxies.first() {
        Some((name, _)) if !is_excepted("127.0.0.1") || !is_excepted("169.254.169.254") => fault(
            "proxy",
            format!("{name} is set and would swallow requests to the local endpoints"),
            "export NO_PROXY=localhost,.localhost,127.0.0.1,169.254.169.254",
        ),
        _ => good("proxy", "no proxy stands between programs and their local endpoints"),
    }
}

/// Variables that make SDKs choose another source than the one that was meant.
fn stray_variables() -> Finding {
    let sources = set_variables(&[
        "IDENTITY_ENDPOINT",
        "MSI_ENDPOINT",
        "IMDS_ENDPOINT",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    ]);
    let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
    match names.as_slice() {
        [] => good("source", "no variable chooses a token endpoint; SDKs will ask 169.254.169.254"),
        [one] => good("source", format!("{one} chooses the token endpoint")),
        several => fault(
            "source",
            format!("{} are all set; SDKs choose differently among them", several.join(", ")),
            format!("unset {}", several.join(" ")),
        ),
    }
}

/// Where packets for the metadata address would go. A connected UDP socket sends none.
fn link_local() -> Finding {
    let address = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
    if TcpListener::bind((address, 0)).is_ok() {
        return good("route", "169.254.169.254 is an address of this host");
    }
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((address, 80)));
    let where_to = match routed {
        Ok(()) => "leads to another machine, perhaps a cloud's own metadata service",
        Err(_) => "leads nowhere",
    };
    good(
        "route",
        format!(
            "169.254.169.254 {where_to}; use `keycard env`, or a network namespace that has the address"
        ),
    )
}

/// A request without the header that every workload sends is refused: a sign that the endpoint listens and checks.
async fn local_endpoints(client: &Client, administration: &Administration) -> Finding {
    let attachments = match administration.attachments().await {
        Ok(attachments) => attachments,
        Err(error) => {
            return fault("local", error.to_string(), "start the server again: keycard up");
        }
    };
    for attachment in &attachments {
        let url = attachment.get("url").and_then(Value::as_str).unwrap_or_default();
        let answer = client.send(request(Method::GET, &format!("{url}/"), None, None)).await;
        let refuses = answer.as_ref().is_ok_and(|answer| answer.status.is_client_error());
        if !refuses {
            return fault(
                "local",
                format!("{url} does not answer as it should"),
                "start the server again: keycard up",
            );
        }
    }
    good("local", format!("{} local endpoints answer", attachments.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_with_its_cure() {
        let text = line(&fault("names", "nothing resolves", "add a line"));
        assert!(text.contains("FAULT") && text.contains("cure: add a line"), "{text}");
        assert!(!line(&good("names", "all well")).contains("cure"));
    }
}
