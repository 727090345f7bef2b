// ManagedIdentityApplication of @azure/msal-node.
"use strict";

const { ManagedIdentityApplication } = require("@azure/msal-node");
const { answer } = require("./questions.js");

const OPTIONS = {
  client_id: "userAssignedClientId",
  object_id: "userAssignedObjectId",
  resource_id: "userAssignedResourceId",
};

answer(async (resource, selector) => {
  const managedIdentityIdParams = selector && { [OPTIONS[selector[0]]]: selector[1] };
  const application = new ManagedIdentityApplication(selector ? { managedIdentityIdParams } : undefined);
  return (await application.acquireToken({ resource })).accessToken;
});
