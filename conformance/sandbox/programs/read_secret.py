"""As it runs in production. Source: Microsoft Learn, "Azure Key Vault secret client library for Python"."""

from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

client = SecretClient(vault_url="https://sandbox-secrets.vault.azure.net", credential=DefaultAzureCredential())
print(client.get_secret("greeting").value)
