//! As it runs in production; the sandbox suite runs it. Source: docs.rs, azure_security_keyvault_secrets 1.0.1, README.

use azure_identity::ManagedIdentityCredential;
use azure_security_keyvault_secrets::SecretClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let credential = ManagedIdentityCredential::new(None)?;
    let client = SecretClient::new("https://sandbox-secrets.vault.azure.net", credential, None)?;
    let secret = client.get_secret("greeting", None).await?.into_model()?;
    println!("{}", secret.value.unwrap_or_default());
    Ok(())
}
