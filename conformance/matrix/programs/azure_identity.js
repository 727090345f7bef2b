// ManagedIdentityCredential and WorkloadIdentityCredential of @azure/identity.
"use strict";

const { ManagedIdentityCredential, WorkloadIdentityCredential } = require("@azure/identity");
const { answer } = require("./questions.js");

const OPTIONS = { client_id: "clientId", object_id: "objectId", resource_id: "resourceId" };

answer(async (resource, selector, source) => {
  const options = selector ? { [OPTIONS[selector[0]]]: selector[1] } : {};
  const Credential = source === "workload-identity" ? WorkloadIdentityCredential : ManagedIdentityCredential;
  return (await new Credential(options).getToken(`${resource}/.default`)).token;
});
