// Tokens from the Service Fabric endpoint of the virtual machine: the SDK verifies its certificate as any other, by
// NODE_EXTRA_CA_CERTS.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const SCOPE = "https://vault.azure.net/.default";
const vm = become({ ...subject.vm, variables: subject.vm.kinds["service-fabric"] });

test("no selector means the machine's own identity", async () => {
  const token = claims((await new ManagedIdentityCredential().getToken(SCOPE)).token);
  assert.equal(token.oid, vm.principalId);
});
