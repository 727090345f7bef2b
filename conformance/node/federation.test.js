// Workload identity federation: a token file as Kubernetes projects it.
// Source: Microsoft Learn, "Azure Identity client library for JavaScript", WorkloadIdentityCredential.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { ClientAssertionCredential, ClientSecretCredential, WorkloadIdentityCredential } = require("@azure/identity");
const { subject, claims } = require("./subject.js");
const { start, AUDIENCE } = require("./issuer.js");

const MANAGEMENT = "https://management.azure.com";
const VAULT = "https://vault.azure.net";
const SUBJECT = "system:serviceaccount:orders:api";
const REACH = { authorityHost: subject.authority, disableInstanceDiscovery: true };

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "keycard-federation-"));
const tokenFilePath = path.join(directory, "azure-identity-token");
const identityPath = `${subject.resourceGroup}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/f-${crypto.randomUUID()}`;
let issuer, identity;

async function must(method, resource, version, body) {
  const { clientId, clientSecret } = subject.administrator;
  const administrator = new ClientSecretCredential(subject.tenantId, clientId, clientSecret, REACH);
  const { token } = await administrator.getToken(`${MANAGEMENT}/.default`);
  const answer = await fetch(`${subject.loopback}${resource}?api-version=${version}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${resource}: ${answer.status}`);
  return answer.status === 200 || answer.status === 201 ? answer.text() : "";
}

before(async () => {
  issuer = await start();
  const made = JSON.parse(await must("PUT", identityPath, "2024-11-30", { location: "eastus" }));
  identity = made.properties;
  const properties = { issuer: issuer.url, subject: SUBJECT, audiences: [AUDIENCE] };
  await must("PUT", `${identityPath}/federatedIdentityCredentials/cluster`, "2024-11-30", { properties });
});

after(async () => {
  await must("DELETE", identityPath, "2024-11-30");
  issuer.close();
  fs.rmSync(directory, { recursive: true });
});

async function assertIsIdentity(credential) {
  const token = claims((await credential.getToken(`${VAULT}/.default`)).token);
  assert.equal(token.oid, identity.principalId);
  assert.equal(token.appid, identity.clientId);
  assert.equal(token.aud, VAULT);
}

function workload() {
  return new WorkloadIdentityCredential({
    tenantId: subject.tenantId,
    clientId: identity.clientId,
    tokenFilePath,
    ...REACH,
  });
}

test("a workload gets a token by its token file", () => {
  fs.writeFileSync(tokenFilePath, `${issuer.token(SUBJECT)}\n`);
  return assertIsIdentity(workload());
});

test("another subject is refused", () => {
  fs.writeFileSync(tokenFilePath, issuer.token("system:serviceaccount:orders:other"));
  return assert.rejects(workload().getToken(`${VAULT}/.default`), { message: /AADSTS700213/ });
});

test("an assertion of the program's own gets a token", () => {
  const assertion = async () => issuer.token(SUBJECT);
  return assertIsIdentity(new ClientAssertionCredential(subject.tenantId, identity.clientId, assertion, REACH));
});
