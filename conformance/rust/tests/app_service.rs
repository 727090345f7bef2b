//! Tokens from a site's endpoint: run with `harness.py --namespace --as site`, since the client reads its own environment.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.

use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use keycard_conformance::{Outcome, claims, subject, text};

#[tokio::test]
async fn no_selector_means_the_sites_own_identity() -> Outcome {
    let subject = subject()?;
    let claims = claims(&*ManagedIdentityCredential::new(None)?).await?;
    assert_eq!(claims["oid"], text(&subject, "/site/principalId"));
    Ok(())
}

/// This client (1.0.0) refuses a resource id on App Service by itself.
#[tokio::test]
async fn client_and_object_id_mean_that_user_assigned_identity() -> Outcome {
    let subject = subject()?;
    let attached =
        |member: &str| text(&subject, &format!("/identities/attached/{member}")).to_owned();
    for id in [
        UserAssignedId::ClientId(attached("clientId")),
        UserAssignedId::ObjectId(attached("principalId")),
    ] {
        let options =
            ManagedIdentityCredentialOptions { user_assigned_id: Some(id), ..Default::default() };
        let claims = claims(&*ManagedIdentityCredential::new(Some(options))?).await?;
        assert_eq!(claims["oid"], attached("principalId"));
    }
    Ok(())
}
