//! Tokens from a virtual machine's metadata endpoint, by each way to name an identity.
//!
//! Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token".

use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use keycard_conformance::{Outcome, claims, subject, text};

const REFUSAL_MAX: Duration = Duration::from_secs(5);

fn named(id: UserAssignedId) -> azure_core::Result<Arc<ManagedIdentityCredential>> {
    ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        user_assigned_id: Some(id),
        ..Default::default()
    }))
}

#[tokio::test]
async fn no_selector_means_the_system_assigned_identity() -> Outcome {
    let subject = subject()?;
    let claims = claims(&*ManagedIdentityCredential::new(None)?).await?;
    assert_eq!(claims["oid"], text(&subject, "/vm/principalId"));
    assert_eq!(claims["aud"], "https://vault.azure.net");
    Ok(())
}

#[tokio::test]
async fn each_selector_means_that_user_assigned_identity() -> Outcome {
    let subject = subject()?;
    let attached =
        |member: &str| text(&subject, &format!("/identities/attached/{member}")).to_owned();
    for id in [
        UserAssignedId::ClientId(attached("clientId")),
        UserAssignedId::ObjectId(attached("principalId")),
        UserAssignedId::ResourceId(attached("id")),
    ] {
        assert_eq!(claims(&*named(id.clone())?).await?["oid"], attached("principalId"), "{id:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_identity_that_is_not_assigned_is_refused_at_once() -> Outcome {
    let subject = subject()?;
    let begin = Instant::now();
    let other =
        named(UserAssignedId::ClientId(text(&subject, "/identities/other/clientId").to_owned()))?;
    assert!(claims(&*other).await.is_err());
    assert!(begin.elapsed() < REFUSAL_MAX);
    Ok(())
}
