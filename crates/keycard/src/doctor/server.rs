//! The running keycard: whether it is there, answers, and gives tokens at its local endpoints.

use std::net::{Ipv4Addr, TcpListener};

use http::Method;
use keycard_domain::compute::Workload;
use keycard_domain::resource_id::ArmResourceId;
use serde_json::Value;

use super::{Finding, fault, good, note};
use crate::cli::client;
use crate::client::{Administration, Client, request};
use crate::commands::env;
use crate::description::Description;

const CURE: &str = "start the server again: keycard up";

/// What was learnt of the server, for the other looks.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The local endpoints; none where the server does not answer.
    pub(super) attachments: Option<Vec<Value>>,
    /// The hosts of the vaults.
    pub(super) vault_hosts: Vec<String>,
}

pub(super) async fn look(
    description: &Description,
    resource: Option<&str>,
) -> (Vec<Finding>, Known) {
    let mut known = Known::default();
    let administration = match sign_in(description).await {
        Ok(administration) => administration,
        Err(finding) => return (vec![finding], known),
    };
    let (client, administration) = administration;
    let loopback = &description.endpoints.loopback;
    let mut findings =
        vec![good("server", format!("{loopback} answers, and its certificate is trusted"))];
    match administration.attachments().await {
        Err(error) => findings.push(fault("local", error.to_string(), CURE)),
        Ok(attachments) => {
            findings.push(local_endpoints(&client, &attachments).await);
            known.attachments = Some(attachments);
        }
    }
    known.vault_hosts = vault_hosts(&client, &administration, description).await;
    if let Some(resource) = resource {
        findings.push(end_to_end(&client, &administration, description, resource).await);
    }
    (findings, known)
}

async fn sign_in(description: &Description) -> Result<(Client, Administration), Finding> {
    let client = client(description).map_err(|failure| fault("server", failure.0, CURE))?;
    match Administration::sign_in(client.clone(), description).await {
        Ok(administration) => Ok((client, administration)),
        Err(error) => Err(fault("server", error.to_string(), CURE)),
    }
}

/// Whether `keycard up` would find its port.
pub(super) fn default_port() -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 8443)) {
        Ok(_) => good("ports", "127.0.0.1:8443 is free"),
        Err(error) => fault(
            "ports",
            format!("127.0.0.1:8443 cannot be listened at: {error}"),
            "end the program that holds it, or choose another: keycard up --port 9443",
        ),
    }
}

/// A request that no workload sends is refused: a sign that the endpoint listens and checks. The metadata address itself is
/// not asked, since it may be another's here.
async fn local_endpoints(client: &Client, attachments: &[Value]) -> Finding {
    let mut asked = 0;
    for attachment in attachments {
        let url = attachment.get("url").and_then(Value::as_str).unwrap_or_default();
        if url.contains("169.254.169.254") || !url.starts_with("http://") {
            continue;
        }
        let answer = client.send(request(Method::GET, &format!("{url}/"), None, None)).await;
        if !answer.is_ok_and(|answer| answer.status.is_client_error()) {
            return fault("local", format!("{url} does not answer as it should"), CURE);
        }
        asked += 1;
    }
    good("local", format!("{asked} local endpoints answer"))
}

/// The hosts of the subscription's vaults; none where they are not told.
async fn vault_hosts(
    client: &Client,
    administration: &Administration,
    description: &Description,
) -> Vec<String> {
    let url = format!(
        "{}/subscriptions/{}/providers/Microsoft.KeyVault/vaults?api-version=2023-07-01",
        description.endpoints.loopback, description.subscription_id
    );
    let answer = client.send(request(Method::GET, &url, Some(administration.token()), None)).await;
    let listed = answer.ok().and_then(|answer| answer.body.get("value")?.as_array().cloned());
    let name = |vault: &Value| vault.get("name").and_then(Value::as_str).map(str::to_owned);
    let suffix = &description.suffixes.key_vault_dns;
    let names = listed.unwrap_or_default().iter().filter_map(name).collect::<Vec<_>>();
    names.into_iter().map(|name| format!("{name}{suffix}")).collect()
}

/// A token from the resource's endpoint, shown to Resource Manager, as a program of the resource would.
async fn end_to_end(
    client: &Client,
    administration: &Administration,
    description: &Description,
    resource: &str,
) -> Finding {
    let attachment = match env::attachment(administration, resource, None).await {
        Ok(attachment) => attachment,
        Err(failure) => {
            return fault("endpoint", failure.0, "keycard attachment list");
        }
    };
    let text = |member: &str| attachment.get(member).and_then(Value::as_str).unwrap_or_default();
    let (url, kind, id) = (text("url"), text("kind"), text("resourceId"));
    let name =
        id.parse::<ArmResourceId>().map_or_else(|_| resource.to_owned(), |id| Workload::name(&id));
    let (address, header) = match kind {
        "imds" => (
            format!("{url}/metadata/identity/oauth2/token?api-version=2018-02-01"),
            ("metadata", "true"),
        ),
        "app-service" => {
            (format!("{url}?api-version=2019-08-01"), ("x-identity-header", text("header")))
        }
        other => {
            return note(
                "endpoint",
                format!("the endpoint of {name} is of kind {other}, which is not tried from here"),
                format!("keycard env --as {resource}"),
            );
        }
    };
    let address = format!("{address}&resource=https://management.azure.com/");
    let mut ask = request(Method::GET, &address, None, None);
    if let Ok(value) = http::HeaderValue::from_str(header.1) {
        ask.headers_mut().insert(header.0, value);
    }
    let answer = match client.send(ask).await {
        Ok(answer) => answer,
        Err(error) => return fault("endpoint", error.to_string(), CURE),
    };
    let Some(token) = answer.body.get("access_token").and_then(Value::as_str) else {
        return fault(
            "endpoint",
            format!(
                "the endpoint of {name} gives no token: {} {}",
                answer.status,
                said(&answer.body)
            ),
            format!(
                "az vm identity assign, or as the template has it: {resource} needs an identity"
            ),
        );
    };
    let token = keycard_crypto::secret::Secret::new(token.to_owned());
    let check = format!("{}/subscriptions?api-version=2022-12-01", description.endpoints.loopback);
    let shown = client.send(request(Method::GET, &check, Some(&token), None)).await;
    match shown {
        Ok(answer) if answer.status.is_success() => good(
            "endpoint",
            format!("the endpoint of {name} ({kind}) gives a token, and Resource Manager takes it"),
        ),
        Ok(answer) => fault(
            "endpoint",
            format!("Resource Manager does not take the token of {name}: {}", answer.status),
            CURE,
        ),
        Err(error) => fault("endpoint", error.to_string(), CURE),
    }
}

/// An error body's own words.
fn said(body: &Value) -> &str {
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    text("error_description").or_else(|| text("message")).unwrap_or_default()
}
