// As it runs in production. Source: Microsoft Learn, "Azure Key Vault Secret client library for JavaScript".
import { DefaultAzureCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const client = new SecretClient("https://sandbox-secrets.vault.azure.net", new DefaultAzureCredential());
console.log((await client.getSecret("greeting")).value);
