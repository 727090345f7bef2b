// The administrator as an application: by secret and by certificate.
// Source: Microsoft Learn, "Azure Identity client library for JavaScript", authenticate service principals.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ClientCertificateCredential, ClientSecretCredential } = require("@azure/identity");
const { subject, claims } = require("./subject.js");

const MANAGEMENT = "https://management.azure.com";
const REACH = { authorityHost: subject.authority, disableInstanceDiscovery: true };
const { clientId, clientSecret, objectId, certificateFile } = subject.administrator;

async function assertIsAdministrator(credential) {
  const token = claims((await credential.getToken(`${MANAGEMENT}/.default`)).token);
  assert.equal(token.oid, objectId);
  assert.equal(token.appid, clientId);
  assert.equal(token.aud, MANAGEMENT);
}

test("a secret gets a token", () =>
  assertIsAdministrator(new ClientSecretCredential(subject.tenantId, clientId, clientSecret, REACH)));

test("a wrong secret is refused", () => {
  const credential = new ClientSecretCredential(subject.tenantId, clientId, "wrong", REACH);
  return assert.rejects(credential.getToken(`${MANAGEMENT}/.default`), { message: /AADSTS7000215/ });
});

for (const sendCertificateChain of [false, true]) {
  test(`a certificate gets a token, ${sendCertificateChain ? "sent along" : "named by thumbprint"}`, () => {
    const options = { ...REACH, sendCertificateChain };
    return assertIsAdministrator(new ClientCertificateCredential(subject.tenantId, clientId, certificateFile, options));
  });
}

// The client signs one assertion and keeps it until it ends; the second resource is no replay of the first.
test("a certificate gets tokens for several resources", async () => {
  const credential = new ClientCertificateCredential(subject.tenantId, clientId, certificateFile, REACH);
  for (const resource of [MANAGEMENT, "https://vault.azure.net", "https://graph.microsoft.com"]) {
    assert.equal(claims((await credential.getToken(`${resource}/.default`)).token).aud, resource);
  }
});
