// A workload reads a secret with its identity and nothing else; the vault that did not grant it anything refuses.
// The client's own check of the challenge's resource against the vault's host is on, as by default.
// Source: Microsoft Learn, "Tutorial: Use a Linux VM system-assigned identity to access Azure resources".
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { SecretClient } = require("@azure/keyvault-secrets");
const { subject, become } = require("./subject.js");

become(subject.vm);
const { granted, denied } = subject.vaults;
const { name, value } = subject.secret;

async function read(vault, identity) {
  return (await new SecretClient(vault.url, new ManagedIdentityCredential(identity)).getSecret(name)).value;
}

// Source: Microsoft Learn, "Azure Key Vault REST API error codes", HTTP 403.
function isForbiddenByRbac(error) {
  assert.equal(error.statusCode, 403);
  assert.equal(error.code, "Forbidden");
  assert.equal(error.details.error.innerError.code, "ForbiddenByRbac");
  return true;
}

test("a Secrets User reads the secret", async () => {
  assert.equal(await read(granted), value);
});

test("a vault that granted nothing refuses", () => assert.rejects(read(denied), isForbiddenByRbac));

test("another identity of the same machine is refused", () =>
  assert.rejects(read(granted, { clientId: subject.identities.attached.clientId }), isForbiddenByRbac));
