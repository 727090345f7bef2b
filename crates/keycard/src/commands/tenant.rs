//! `keycard tenant create`: a second tenant of a running `up`, with its own subscription and administrator.

use std::path::Path;

use clap::ValueEnum;
use http::Method;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};
use crate::client::text_at;
use crate::config::Places;
use crate::description::{Administrator, Description};
use crate::keys;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant with a subscription and an administrator of its own. Only on `up`.
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// What it is called: lower-case letters, digits and `-`. It is also reached as NAME.onmicrosoft.com.
    name: String,
    /// What the directory is for. One for customers has no managed identities.
    #[arg(long = "type", value_enum, default_value_t = Kind::Aad)]
    kind: Kind,
    /// How its tokens name their issuer: by this server's address, or by Microsoft's names.
    #[arg(long, value_enum, default_value_t = Issuer::Served)]
    issuer: Issuer,
    #[command(flatten)]
    server: ServerChoice,
    /// Write one line of JSON in the shape of `up`; or keep that in a file below `$KEYCARD_HOME`, and write a summary.
    #[arg(long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An organization's own directory.
    Aad,
    /// A directory for customers.
    AadB2c,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Issuer {
    /// `https://login.DOMAIN/TENANT/`.
    Served,
    /// `https://sts.windows.net/TENANT/`.
    Azure,
}

impl Tenant {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::Create(create) = self;
        let (server, administration) = create.server.sign_in().await?;
        let body = json!({
            "name": create.name,
            "tenantType": match create.kind { Kind::Aad => "AAD", Kind::AadB2c => "AAD B2C" },
            "issuer": match create.issuer { Issuer::Served => "served", Issuer::Azure => "azure" },
        });
        let path = "/providers/Keycard.Local/createTenant?api-version=2026-11-01";
        let made =
            described(server, &administration.arm(Method::POST, path, Some(&body)).await?.body);
        match create.output {
            Output::Json => print(&serde_json::to_string(&made)?),
            Output::Table => {
                let file = Places::from_environment().tenant_file(&create.name);
                keep(&file, &made)?;
                print(&summary(&create.name, &made, &file))
            }
        }
    }
}

/// The secret is not told again: the file is the one place where it is.
fn keep(file: &Path, made: &Description) -> Result<(), Failure> {
    keys::private_directory(file.parent().unwrap_or(file))?;
    Ok(keys::write_private(file, serde_json::to_string(made)?.as_bytes())?)
}

/// The server as the new tenant's administrator sees it.
fn described(server: Description, made: &Value) -> Description {
    let text = |path: &str| text_at(made, path).to_owned();
    Description {
        tenant_id: text("/tenantId"),
        subscription_id: text("/subscriptionId"),
        administrator: Administrator {
            client_id: text("/administrator/clientId"),
            client_secret: Secret::new(text("/administrator/clientSecret")),
            object_id: text("/administrator/objectId"),
        },
        ..server
    }
}

fn summary(name: &str, made: &Description, file: &Path) -> String {
    let administrator = &made.administrator;
    format!(
        "tenant         {tenant} ({name}.onmicrosoft.com)\n\
         subscription   {subscription}\n\
         administrator  client id {client}, object id {object}\n\
         Its secret is in {file}; name that file to other commands with --credentials.",
        tenant = made.tenant_id,
        subscription = made.subscription_id,
        client = administrator.client_id,
        object = administrator.object_id,
        file = file.display(),
    )
}
