// DefaultAzureCredential finds the managed identity by itself, as code without any configuration uses it.
// Source: Microsoft Learn, "Credential chains in the Azure Identity library for JavaScript".
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { DefaultAzureCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const SCOPE = "https://vault.azure.net/.default";
const vm = become(subject.vm);
const { attached } = subject.identities;

async function acquire(options) {
  return claims((await new DefaultAzureCredential(options).getToken(SCOPE)).token);
}

// The whole chain probes the endpoint first; the chain narrowed by variable does not.
for (const chain of [undefined, "ManagedIdentityCredential"]) {
  const narrowed = chain ?? "the whole chain";

  test(`${narrowed}: a virtual machine is its system-assigned identity`, async () => {
    narrow(chain);
    assert.equal((await acquire()).oid, vm.principalId);
  });

  test(`${narrowed}: a virtual machine is the identity it names`, async () => {
    narrow(chain);
    assert.equal((await acquire({ managedIdentityClientId: attached.clientId })).oid, attached.principalId);
  });
}

function narrow(chain) {
  if (chain) {
    process.env.AZURE_TOKEN_CREDENTIALS = chain;
  } else {
    delete process.env.AZURE_TOKEN_CREDENTIALS;
  }
}
