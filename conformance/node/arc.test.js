// Tokens from the Arc endpoint of the virtual machine: the SDK presents what stands in the file that the challenge names.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagedIdentityCredential } = require("@azure/identity");
const { subject, become, claims } = require("./subject.js");

const SCOPE = "https://vault.azure.net/.default";
const vm = become({ ...subject.vm, variables: subject.vm.kinds["arc"] });
const { attached } = subject.identities;

// The SDK looks for files in one directory of the machine, which only a namespace may cover.
if (subject.unmodified) {
  test("no selector means the machine's own identity", async () => {
    const token = claims((await new ManagedIdentityCredential().getToken(SCOPE)).token);
    assert.equal(token.oid, vm.principalId);
  });

  test("a client id means that user-assigned identity", async () => {
    const options = { clientId: attached.clientId };
    const token = claims((await new ManagedIdentityCredential(options).getToken(SCOPE)).token);
    assert.equal(token.oid, attached.principalId);
  });
}
