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

// The whole chain probes the endpoint first.
test("a virtual machine is its system-assigned identity", async () => {
  assert.equal((await acquire()).oid, vm.principalId);
});

test("a virtual machine is the identity it names", async () => {
  assert.equal((await acquire({ managedIdentityClientId: attached.clientId })).oid, attached.principalId);
});

// The chain narrowed by variable does not probe. It takes the client id from the environment and not from the options
// (4.13.1 builds its one credential without them).
test("narrowed to managed identity, a virtual machine is its system-assigned identity", async () => {
  process.env.AZURE_TOKEN_CREDENTIALS = "ManagedIdentityCredential";
  assert.equal((await acquire()).oid, vm.principalId);
});

test("narrowed to managed identity, a virtual machine is the identity in AZURE_CLIENT_ID", async () => {
  Object.assign(process.env, { AZURE_TOKEN_CREDENTIALS: "ManagedIdentityCredential", AZURE_CLIENT_ID: attached.clientId });
  assert.equal((await acquire()).oid, attached.principalId);
});
