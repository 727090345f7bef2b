// A Secrets Officer keeps secrets through the vendor's client: first write, versions, lists, update, delete, recover, purge.
// Source: Microsoft Learn, "Azure Key Vault Secret client library for JavaScript".
"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { test } = require("node:test");
const { ClientSecretCredential } = require("@azure/identity");
const { SecretClient } = require("@azure/keyvault-secrets");
const { subject } = require("./subject.js");

const { administrator, vaults } = subject;
const POLL = { intervalInMs: 100 };

// Each client starts without a remembered challenge, so its first request is sent without a body.
function freshClient() {
  const reach = { authorityHost: subject.authority, disableInstanceDiscovery: true };
  const { clientId, clientSecret } = administrator;
  const credential = new ClientSecretCredential(subject.tenantId, clientId, clientSecret, reach);
  return new SecretClient(vaults.granted.url, credential);
}

async function collect(iterator) {
  const all = [];
  for await (const item of iterator) {
    all.push(item);
  }
  return all;
}

const newName = () => `secret-${randomUUID()}`;

function isRefusal(statusCode, innerCode) {
  return (error) => {
    assert.equal(error.statusCode, statusCode);
    assert.equal(error.details.error.innerError.code, innerCode);
    return true;
  };
}

test("a first write keeps its body", async () => {
  const name = newName();
  const kept = await freshClient().setSecret(name, "first", { contentType: "text/plain", tags: { team: "conformance" } });
  assert.equal(kept.value, "first");
  assert.equal(kept.properties.contentType, "text/plain");
  assert.deepEqual({ ...kept.properties.tags }, { team: "conformance" });
  assert.equal((await freshClient().getSecret(name)).value, "first");
});

test("every version stays readable", async () => {
  const [client, name] = [freshClient(), newName()];
  const first = await client.setSecret(name, "one");
  const second = await client.setSecret(name, "two");
  assert.equal((await client.getSecret(name)).value, "two");
  assert.equal((await client.getSecret(name, { version: first.properties.version })).value, "one");
  const listed = await collect(client.listPropertiesOfSecretVersions(name));
  const versions = [first, second].map((secret) => secret.properties.version).sort();
  assert.deepEqual(listed.map((properties) => properties.version).sort(), versions);
});

test("pages are no larger than asked and lose nothing", async () => {
  const [client, prefix] = [freshClient(), newName()];
  const wanted = [0, 1, 2, 3, 4].map((number) => `${prefix}-${number}`);
  for (const name of wanted) {
    await client.setSecret(name, "value");
  }
  const pages = await collect(client.listPropertiesOfSecrets().byPage({ maxPageSize: 2 }));
  assert.ok(pages.every((page) => page.length <= 2));
  const names = pages.flat().map((properties) => properties.name);
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(names.filter((name) => wanted.includes(name)).sort(), wanted);
});

test("an update leaves the value", async () => {
  const [client, name] = [freshClient(), newName()];
  const { properties } = await client.setSecret(name, "value");
  const updated = await client.updateSecretProperties(name, properties.version, { contentType: "text/html" });
  assert.equal(updated.contentType, "text/html");
  assert.equal((await client.getSecret(name)).value, "value");
});

test("an expiry is kept", async () => {
  const expiresOn = new Date("2030-01-01T00:00:00Z");
  const kept = await freshClient().setSecret(newName(), "value", { expiresOn });
  assert.equal(kept.properties.expiresOn.toISOString(), expiresOn.toISOString());
});

// This client writes later times through 32-bit arithmetic (4.11.2): they arrive as negative numbers.
test("an expiry after January 2038 is not refused", async () => {
  const kept = await freshClient().setSecret(newName(), "value", { expiresOn: new Date("2040-01-01T00:00:00Z") });
  assert.equal(kept.value, "value");
});

test("a deleted secret comes back whole", async () => {
  const [client, name] = [freshClient(), newName()];
  await client.setSecret(name, "value");
  const deletion = await client.beginDeleteSecret(name, POLL);
  const deleted = await deletion.pollUntilDone();
  assert.ok(deleted.properties.recoveryId);
  await assert.rejects(client.getSecret(name), (error) => error.statusCode === 404 && error.code === "SecretNotFound");
  const recovery = await client.beginRecoverDeletedSecret(name, POLL);
  await recovery.pollUntilDone();
  assert.equal((await client.getSecret(name)).value, "value");
});

test("a deleted secret holds its name until purged", async () => {
  const [client, name] = [freshClient(), newName()];
  await client.setSecret(name, "one");
  await (await client.beginDeleteSecret(name, POLL)).pollUntilDone();
  await assert.rejects(client.setSecret(name, "two"), isRefusal(409, "ObjectIsDeletedButRecoverable"));
  await client.purgeDeletedSecret(name);
  assert.equal((await client.setSecret(name, "two")).value, "two");
});
