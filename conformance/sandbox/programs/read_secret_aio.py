"""As it runs in production, without blocking. Its TLS is the standard library's, not that of `requests`."""

import asyncio

from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient


async def main():
    async with ManagedIdentityCredential() as credential:
        async with SecretClient("https://sandbox-secrets.vault.azure.net", credential) as client:
            print((await client.get_secret("greeting")).value)


asyncio.run(main())
