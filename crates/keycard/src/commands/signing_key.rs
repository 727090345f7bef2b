//! `keycard signing-key`: the keys that sign a tenant's tokens.

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};
use crate::client::text_at;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum SigningKey {
    /// List the published keys, and where in its life each is.
    List(Common),
    /// Publish a successor of the key that signs, before its time. It signs a day later.
    Rotate(Common),
    /// Withdraw a key at once, because it may be in wrong hands: no token that it signed counts any more.
    ///
    /// keycard's own services refuse such tokens at once. Others do when they fetch the key set the next time, which
    /// they are told to do every five minutes.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or a table for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The key: the `kid` in the header of its tokens.
    #[arg(value_name = "KEY-ID", allow_hyphen_values = true)]
    key_id: String,
    #[command(flatten)]
    common: Common,
}

impl SigningKey {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (common, method, action, body) = match self {
            Self::List(common) => (common, Method::GET, "signingKeys", None),
            Self::Rotate(common) => (common, Method::POST, "rotateSigningKey", Some(json!({}))),
            Self::Revoke(revoke) => {
                let body = json!({ "keyId": revoke.key_id });
                (revoke.common, Method::POST, "revokeSigningKey", Some(body))
            }
        };
        let (_, administration) = common.server.sign_in().await?;
        let path = format!("/providers/Keycard.Local/{action}?api-version=2026-11-01");
        let answer = administration.arm(method, &path, body.as_ref()).await?;
        let keys = answer.body.get("value").and_then(Value::as_array).cloned().unwrap_or_default();
        match common.output {
            Output::Json => print(&serde_json::to_string(&keys)?),
            Output::Table => print(&table(&keys)),
        }
    }
}

fn table(keys: &[Value]) -> String {
    if keys.is_empty() {
        return "The tenant's first key is being made.".to_owned();
    }
    let mut lines = vec![format!("{:<30} {:<10} {:<22} SIGNS FROM", "KEY ID", "PHASE", "MADE")];
    lines.extend(keys.iter().map(|key| {
        format!(
            "{:<30} {:<10} {:<22} {}",
            text_at(key, "/keyId"),
            text_at(key, "/phase"),
            text_at(key, "/createdAt"),
            text_at(key, "/signsFrom"),
        )
    }));
    lines.join("\n")
}
