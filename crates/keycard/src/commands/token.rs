//! `keycard token forge`: a token with exactly one fault.

use http::Method;
use keycard_domain::token::forge::Fault;
use serde_json::{Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// Print a token with exactly one fault, so that you can test what your own services check. Only on `up`.
    Forge(Forge),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Forge {
    /// Whom the token speaks for: a resource id, an object or client id, or a name where it is unique.
    #[arg(long = "as", value_name = "IDENTITY")]
    identity: String,
    /// What the token is for, such as `https://vault.azure.net`.
    #[arg(long)]
    audience: String,
    /// The fault: expired, not-yet-valid, wrong-audience, wrong-issuer, wrong-tenant, unknown-key, bad-signature or none.
    #[arg(long, value_parser = clap::value_parser!(Fault))]
    fault: Fault,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or the token alone.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Token {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::Forge(forge) = self;
        let (_, administration) = forge.server.sign_in().await?;
        let path = "/providers/Keycard.Local/forgeToken?api-version=2026-11-01";
        let body = json!({
            "identity": forge.identity,
            "audience": forge.audience,
            "fault": forge.fault.as_str(),
        });
        let answer = administration.arm(Method::POST, path, Some(&body)).await?;
        match forge.output {
            Output::Json => print(&answer.body.to_string()),
            Output::Table => {
                print(answer.body.get("token").and_then(Value::as_str).unwrap_or_default())
            }
        }
    }
}
