// Tokens from a virtual machine's metadata endpoint, by each way to name an identity.
// Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token".
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const VAULT = "https://vault.azure.net";
const REFUSAL_MILLISECONDS_MAX = 5000;
const vm = become(subject.vm);
const { attached, other } = subject.identities;

async function acquire(options, resource = VAULT) {
  const { token, expiresOnTimestamp } = await new ManagedIdentityCredential(options).getToken(`${resource}/.default`);
  return { ...claims(token), expiresOnTimestamp };
}

async function refusedAtOnce(options, resource) {
  const begin = Date.now();
  await assert.rejects(acquire(options, resource), { name: "CredentialUnavailableError" });
  assert.ok(Date.now() - begin < REFUSAL_MILLISECONDS_MAX);
}

test("no selector means the system-assigned identity", async () => {
  const token = await acquire();
  assert.equal(token.oid, vm.principalId);
  assert.equal(token.aud, VAULT);
  assert.equal(token.tid, subject.tenantId);
  assert.equal(token.xms_mirid.toLowerCase(), vm.id.toLowerCase());
});

test("the client knows when the token expires", async () => {
  const token = await acquire();
  // The client counts seconds from the answer and adds them to the moment of its request: never later than the truth,
  // and earlier by the second that may begin in between. What the server says is exact: curl/test_imds_token.py.
  const early = token.exp * 1000 - token.expiresOnTimestamp;
  assert.ok(early === 0 || early === 1000, `${early} ms early`);
});

for (const [option, member] of [["clientId", "clientId"], ["objectId", "principalId"], ["resourceId", "id"]]) {
  test(`${option} means that user-assigned identity`, async () => {
    const token = await acquire({ [option]: attached[member] });
    assert.equal(token.oid, attached.principalId);
    assert.equal(token.appid, attached.clientId);
  });
}

test("an identity that is not assigned is refused at once", () => refusedAtOnce({ clientId: other.clientId }));

test("an unknown client id is refused at once", () =>
  refusedAtOnce({ clientId: "00000000-0000-4000-8000-000000000000" }));

test("a resource nobody serves is refused at once", () => refusedAtOnce({}, "https://nobody.invalid"));
