// ManagedIdentityCredential of @azure/identity.
"use strict";

const { ManagedIdentityCredential } = require("@azure/identity");
const { answer } = require("./questions.js");

const OPTIONS = { client_id: "clientId", object_id: "objectId", resource_id: "resourceId" };

answer(async (resource, selector) => {
  const options = selector ? { [OPTIONS[selector[0]]]: selector[1] } : {};
  return (await new ManagedIdentityCredential(options).getToken(`${resource}/.default`)).token;
});
