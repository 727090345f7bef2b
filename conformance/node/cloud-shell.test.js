// Tokens from the Cloud Shell endpoint of the virtual machine: the SDK chooses the source by its variables.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const SCOPE = "https://vault.azure.net/.default";
const vm = become({ ...subject.vm, variables: subject.vm.kinds["cloud-shell"] });

test("no selector means the machine's own identity", async () => {
  const token = claims((await new ManagedIdentityCredential().getToken(SCOPE)).token);
  assert.equal(token.oid, vm.principalId);
});
