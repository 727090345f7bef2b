//! `ManagedIdentityCredential` of `azure_identity`: each line of standard input is `{"resource", "selector"}`, each line of
//! standard output `{"token"}` or `{"refusal", "words"}`. The variables are the process's own.

use std::error::Error;
use std::io::{BufRead as _, Write as _};

use azure_core::credentials::TokenCredential as _;
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
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
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: named(&question["selector"]),
        ..Default::default()
    };
    let credential = ManagedIdentityCredential::new(Some(options))?;
    let scope = format!("{}/.default", question["resource"].as_str().unwrap_or_default());
    Ok(credential.get_token(&[&scope], None).await?.token.secret().to_owned())
}

fn named(selector: &Value) -> Option<UserAssignedId> {
    let value = selector[1].as_str()?.to_owned();
    match selector[0].as_str()? {
        "client_id" => Some(UserAssignedId::ClientId(value)),
        "object_id" => Some(UserAssignedId::ObjectId(value)),
        _ => Some(UserAssignedId::ResourceId(value)),
    }
}
