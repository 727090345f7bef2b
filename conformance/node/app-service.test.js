// Tokens from a site's endpoint, by each way to name an identity.
// Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const SCOPE = "https://vault.azure.net/.default";
const REFUSAL_MILLISECONDS_MAX = 5000;
const site = become(subject.site);
const { attached } = subject.identities;

async function acquire(options) {
  return claims((await new ManagedIdentityCredential(options).getToken(SCOPE)).token);
}

test("no selector means the site's own identity", async () => {
  const token = await acquire();
  assert.equal(token.oid, site.principalId);
  assert.equal(token.xms_mirid.toLowerCase(), site.id.toLowerCase());
});

for (const [option, member] of [["clientId", "clientId"], ["objectId", "principalId"], ["resourceId", "id"]]) {
  test(`${option} means that user-assigned identity`, async () => {
    assert.equal((await acquire({ [option]: attached[member] })).oid, attached.principalId);
  });
}

test("an unknown client id is refused at once", async () => {
  const begin = Date.now();
  const options = { clientId: "00000000-0000-4000-8000-000000000000" };
  await assert.rejects(acquire(options), { name: "CredentialUnavailableError" });
  assert.ok(Date.now() - begin < REFUSAL_MILLISECONDS_MAX);
});
