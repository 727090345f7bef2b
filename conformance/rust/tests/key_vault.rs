//! A workload reads a secret with its identity and nothing else, and is refused where nothing was granted; an officer writes.
//!
//! The client's own check of the challenge's resource against the vault's host is on, as by default.
//! Source: docs.rs, azure_security_keyvault_secrets 1.0.1, README.

use std::error::Error;
use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_identity::{ClientSecretCredential, ManagedIdentityCredential};
use azure_security_keyvault_secrets::models::{
    SecretClientListSecretPropertiesOptions, SetSecretParameters,
};
use azure_security_keyvault_secrets::{ResourceExt, SecretClient};
use futures::TryStreamExt;
use keycard_conformance::{Outcome, assert_forbidden, subject, text};
use serde_json::Value;

fn workload() -> azure_core::Result<Arc<dyn TokenCredential>> {
    Ok(ManagedIdentityCredential::new(None)?)
}

/// A client without a remembered challenge: its first request goes out without a body.
fn fresh_officer(subject: &Value) -> Result<SecretClient, Box<dyn Error>> {
    let credential = ClientSecretCredential::new(
        text(subject, "/tenantId"),
        text(subject, "/administrator/clientId").to_owned(),
        Secret::new(text(subject, "/administrator/clientSecret").to_owned()),
        None,
    )?;
    Ok(SecretClient::new(text(subject, "/vaults/granted/url"), credential, None)?)
}

fn value(text: &str) -> SetSecretParameters {
    SetSecretParameters { value: Some(text.into()), ..Default::default() }
}

#[tokio::test]
async fn a_secrets_user_reads_the_secret() -> Outcome {
    let subject = subject()?;
    let client = SecretClient::new(text(&subject, "/vaults/granted/url"), workload()?, None)?;
    let secret = client.get_secret(text(&subject, "/secret/name"), None).await?.into_model()?;
    assert_eq!(secret.value.as_deref(), Some(text(&subject, "/secret/value")));
    Ok(())
}

#[tokio::test]
async fn a_vault_that_granted_nothing_refuses() -> Outcome {
    let subject = subject()?;
    let client = SecretClient::new(text(&subject, "/vaults/denied/url"), workload()?, None)?;
    let Err(refusal) = client.get_secret(text(&subject, "/secret/name"), None).await else {
        panic!("the vault granted nothing and answered all the same");
    };
    assert_forbidden(&refusal);
    Ok(())
}

#[tokio::test]
async fn a_first_write_keeps_its_body() -> Outcome {
    let subject = subject()?;
    let set = fresh_officer(&subject)?
        .set_secret("rust-first-write", value("first").try_into()?, None)
        .await?;
    assert_eq!(set.into_model()?.value.as_deref(), Some("first"));
    let read = fresh_officer(&subject)?.get_secret("rust-first-write", None).await?;
    assert_eq!(read.into_model()?.value.as_deref(), Some("first"));
    Ok(())
}

#[tokio::test]
async fn pages_lose_nothing() -> Outcome {
    let subject = subject()?;
    let client = fresh_officer(&subject)?;
    let wanted = ["rust-page-0", "rust-page-1", "rust-page-2"];
    for name in wanted {
        client.set_secret(name, value("value").try_into()?, None).await?;
    }
    let options =
        SecretClientListSecretPropertiesOptions { maxresults: Some(1), ..Default::default() };
    let mut listed = client.list_secret_properties(Some(options))?;
    let mut names = Vec::new();
    while let Some(properties) = listed.try_next().await? {
        names.push(properties.resource_id()?.name);
    }
    for name in wanted {
        assert_eq!(names.iter().filter(|listed| *listed == name).count(), 1, "{name}");
    }
    Ok(())
}
