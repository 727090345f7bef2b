//! What `keycard env --kind workload-identity` finds out: the file with a service account's token, and whom it speaks for.

use http::Method;
use serde_json::Value;

use crate::cli::Failure;
use crate::client::Administration;

/// A projected token, and the client that it is exchanged for.
#[derive(Debug)]
pub(crate) struct WorkloadIdentity {
    pub(crate) token_file: String,
    pub(crate) client_id: String,
}

/// Has the account's token written, and finds the one client that has a federated credential for it.
pub(crate) async fn project(
    administration: &Administration,
    cluster: &str,
    account: &str,
) -> Result<WorkloadIdentity, Failure> {
    let cluster = cluster_id(administration, cluster).await?;
    let path = format!(
        "{cluster}/providers/Keycard.Local/projectedTokens/{account}?api-version=2026-11-01"
    );
    let projected = administration.arm(Method::POST, &path, None).await?.body;
    let text = |member: &str| projected.get(member).and_then(Value::as_str).unwrap_or_default();
    let clients = projected.get("clientIds").and_then(Value::as_array);
    let clients: Vec<&str> = clients.into_iter().flatten().filter_map(Value::as_str).collect();
    let (issuer, subject) = (text("issuer"), text("subject"));
    match clients.as_slice() {
        [only] => Ok(WorkloadIdentity {
            token_file: text("tokenFile").to_owned(),
            client_id: (*only).to_owned(),
        }),
        [] => Err(Failure(format!(
            "no identity trusts {account} of this cluster: give one a federated credential with issuer {issuer}, subject {subject} and audience api://AzureADTokenExchange"
        ))),
        several => Err(Failure(format!(
            "several identities trust {subject} of {issuer}: {}; set AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE={} yourself",
            several.join(", "),
            text("tokenFile")
        ))),
    }
}

/// The id of the cluster that is meant by its id or its name.
async fn cluster_id(administration: &Administration, named: &str) -> Result<String, Failure> {
    if named.starts_with('/') {
        return Ok(named.to_owned());
    }
    let listed = administration.clusters().await?;
    let text = |item: &Value, member: &str| {
        item.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let meant: Vec<String> = listed
        .iter()
        .filter(|item| text(item, "name").eq_ignore_ascii_case(named))
        .map(|item| text(item, "id"))
        .collect();
    match meant.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure(format!("no cluster is called `{named}`"))),
        several => {
            Err(Failure(format!("several clusters are called `{named}`: {}", several.join(", "))))
        }
    }
}
