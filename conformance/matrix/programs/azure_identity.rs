//! `ManagedIdentityCredential` and `WorkloadIdentityCredential` of `azure_identity`: each line of standard input is
//! `{"source", "resource", "selector"}`, each line of standard output `{"token"}` or `{"refusal", "words"}`. The variables are
//! the process's own.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_identity::{
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let told = match acquire(&question).await {
            Ok(token) => json!({ "token": token }),
            Err(error) => {
                json!({ "refusal": format!("{:?}", error.kind()), "words": error.to_string() })
            }
        };
        writeln!(std::io::stdout(), "{told}")?;
    }
    Ok(())
}

async fn acquire(question: &Value) -> azure_core::Result<String> {
    let credential = credential(question)?;
    let scope = format!("{}/.default", question["resource"].as_str().unwrap_or_default());
    Ok(credential.get_token(&[&scope], None).await?.token.secret().to_owned())
}

fn credential(question: &Value) -> azure_core::Result<Arc<dyn TokenCredential>> {
    if question["source"] == "workload-identity" {
        let client_id = question["selector"][1].as_str().map(str::to_owned);
        let options = WorkloadIdentityCredentialOptions { client_id, ..Default::default() };
        return Ok(WorkloadIdentityCredential::new(Some(options))?);
    }
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: named(&question["selector"]),
        ..Default::default()
    };
    Ok(ManagedIdentityCredential::new(Some(options))?)
}

fn named(selector: &Value) -> Option<UserAssignedId> {
    let value = selector[1].as_str()?.to_owned();
    match selector[0].as_str()? {
        "client_id" => Some(UserAssignedId::ClientId(value)),
        "object_id" => Some(UserAssignedId::ObjectId(value)),
        _ => Some(UserAssignedId::ResourceId(value)),
    }
}
