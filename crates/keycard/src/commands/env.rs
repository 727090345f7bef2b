//! `keycard env --as RESOURCE`: the variables that let a program run as a resource.

use clap::ValueEnum;
use keycard_domain::compute::Workload;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::resource_id::ArmResourceId;
use keycard_wire::local::arc;
use serde_json::{Map, Value, json};

use crate::cli::{Failure, ServerChoice, print};
use crate::client::Administration;
use crate::commands::workload_identity::{self, WorkloadIdentity};
use crate::description::Description;

#[derive(Debug, clap::Args)]
pub(crate) struct Env {
    /// The resource: its id, or its name where that is unique; of a scale set's instance, as `web_0`.
    #[arg(long = "as", value_name = "RESOURCE")]
    resource: String,
    /// The kind of endpoint; by default the resource's own.
    #[arg(long)]
    kind: Option<String>,
    /// Of a cluster, with `--kind workload-identity`: the service account that the program runs as.
    #[arg(long, value_name = "NAMESPACE:NAME", default_value = "default:default")]
    service_account: String,
    #[command(flatten)]
    server: ServerChoice,
    /// Write lines for a shell's `eval`, or one JSON object.
    #[arg(long, value_enum, default_value_t = Form::Shell)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// `export NAME='value'`
    Shell,
    /// `{"NAME": "value"}`
    Json,
}

impl Env {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.kind.as_deref() {
            Some(kind) if kind != WORKLOAD_IDENTITY && EndpointKind::parse(kind).is_none() => {
                return Err(Failure(format!("`{kind}` is no kind of endpoint")));
            }
            Some(_) | None => {}
        }
        let (description, administration) = self.server.sign_in().await?;
        let variables = if self.kind.as_deref() == Some(WORKLOAD_IDENTITY) {
            let account = &self.service_account;
            let found =
                workload_identity::project(&administration, &self.resource, account).await?;
            federation_variables(&description, &found)
        } else {
            let kind = self.kind.as_deref();
            let attachment = attachment(&administration, &self.resource, kind).await?;
            variables(&description, &attachment)
        };
        match self.output {
            Form::Json => print(&serde_json::to_string(&variables)?),
            Form::Shell => print(&shell(&variables)),
        }
    }
}

/// Not the kind of an endpoint: a file, and the token service.
const WORKLOAD_IDENTITY: &str = "workload-identity";

fn text<'a>(item: &'a Value, member: &str) -> &'a str {
    item.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// The resource's endpoint of the wanted kind.
pub(crate) async fn attachment(
    administration: &Administration,
    resource: &str,
    kind: Option<&str>,
) -> Result<Value, Failure> {
    let all = administration.attachments().await?;
    let is_meant = |item: &&Value| {
        let id = text(item, "resourceId");
        let name = id.parse::<ArmResourceId>().map(|id| Workload::name(&id));
        id.eq_ignore_ascii_case(resource)
            || name.is_ok_and(|name| name.eq_ignore_ascii_case(resource))
    };
    let mut meant: Vec<&Value> = all.iter().filter(is_meant).collect();
    meant.dedup_by_key(|item| text(item, "resourceId").to_ascii_lowercase());
    let first = match meant.as_slice() {
        [] => {
            return Err(Failure(format!(
                "no resource with a local endpoint is called `{resource}`"
            )));
        }
        [one] => *one,
        several => {
            let ids: Vec<&str> = several.iter().map(|item| text(item, "resourceId")).collect();
            return Err(Failure(format!(
                "several resources are called `{resource}`: {}",
                ids.join(", ")
            )));
        }
    };
    match kind {
        Some(kind) => Ok(administration.attach(text(first, "resourceId"), kind).await?),
        None => Ok(first.clone()),
    }
}

/// What a program is told by variables.
pub(crate) fn variables(server: &Description, attachment: &Value) -> Map<String, Value> {
    let mut variables = Map::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), json!(value));
    };
    match text(attachment, "kind") {
        "app-service" => {
            set("IDENTITY_ENDPOINT", text(attachment, "url"));
            set("IDENTITY_HEADER", text(attachment, "header"));
        }
        "arc" => {
            let url = text(attachment, "url");
            set("IDENTITY_ENDPOINT", url);
            set("IMDS_ENDPOINT", url.strip_suffix(arc::PATH).unwrap_or(url));
        }
        "service-fabric" => {
            set("IDENTITY_ENDPOINT", text(attachment, "url"));
            set("IDENTITY_HEADER", text(attachment, "header"));
            set("IDENTITY_SERVER_THUMBPRINT", text(attachment, "certificateThumbprint"));
        }
        "cloud-shell" => set("MSI_ENDPOINT", text(attachment, "url")),
        "azure-ml" => {
            set("MSI_ENDPOINT", text(attachment, "url"));
            set("MSI_SECRET", text(attachment, "header"));
            // What the SDKs for .NET insist on when no identity is named, and those for Node and Go send.
            if attachment.get("defaultClientId").is_some() {
                set("DEFAULT_IDENTITY_CLIENT_ID", text(attachment, "defaultClientId"));
            }
        }
        _ => set("AZURE_POD_IDENTITY_AUTHORITY_HOST", text(attachment, "url")),
    }
    variables.extend(shared_variables(server));
    variables
}

/// What the webhook of a cluster sets.
fn federation_variables(server: &Description, found: &WorkloadIdentity) -> Map<String, Value> {
    let mut variables = shared_variables(server);
    let authority = format!("{}/", server.endpoints.token_service);
    for (name, value) in [
        ("AZURE_AUTHORITY_HOST", &authority),
        ("AZURE_CLIENT_ID", &found.client_id),
        ("AZURE_FEDERATED_TOKEN_FILE", &found.token_file),
    ] {
        variables.insert(name.to_owned(), json!(value));
    }
    variables
}

/// What does not depend on the kind: the token service, and whom to trust.
fn shared_variables(server: &Description) -> Map<String, Value> {
    let mut variables = Map::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), json!(value));
    };
    set("AZURE_AUTHORITY_HOST", &server.endpoints.token_service);
    set("AZURE_TENANT_ID", &server.tenant_id);
    // These replace a program's own authorities, so they get the bundle; Node adds, so it gets the one.
    for name in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
        set(name, &server.ca_bundle_file);
    }
    set("NODE_EXTRA_CA_CERTS", &server.ca_file);
    for name in ["NO_PROXY", "no_proxy"] {
        set(name, "localhost,.localhost,127.0.0.1,169.254.169.254");
    }
    variables
}

fn shell(variables: &Map<String, Value>) -> String {
    let line = |(name, value): (&String, &Value)| {
        let value = value.as_str().unwrap_or_default().replace('\'', r"'\''");
        format!("export {name}='{value}'")
    };
    variables.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let mut variables = Map::new();
        variables.insert("A".to_owned(), json!("it's $HOME"));
        assert_eq!(shell(&variables), r"export A='it'\''s $HOME'");
    }
}
