// The subject, and how this process reaches it: whose endpoint it asks and how the subject's names resolve here.
"use strict";

const dns = require("node:dns");
const fs = require("node:fs");
const net = require("node:net");

const METADATA_ADDRESS = "169.254.169.254";

const subject = JSON.parse(fs.readFileSync(process.env.KEYCARD_SUBJECT, "utf8"));

resolveLoopbackNames();
if (!subject.unmodified) {
  refuseMetadataAddress();
}

// Plain glibc does not resolve names below `localhost`.
function resolveLoopbackNames() {
  const original = dns.lookup;
  const isOurs = (name) => subject.loopbackSuffixes.some((suffix) => name.endsWith(`.${suffix}`));
  dns.lookup = (name, ...rest) => original(isOurs(name) ? "127.0.0.1" : name, ...rest);
}

// Outside a namespace of our own the machine may have a real metadata service: never ask it.
function refuseMetadataAddress() {
  const original = net.Socket.prototype.connect;
  net.Socket.prototype.connect = function (...args) {
    const options = Array.isArray(args[0]) ? args[0][0] : args[0];
    if (options && options.host === METADATA_ADDRESS) {
      throw new Error("a client asked the metadata address outside a namespace of our own");
    }
    return original.apply(this, args);
  };
}

// From here on this process is a workload of that resource. The SDK chooses its source once per process, so a test file
// is one resource only (node's runner gives each file a process).
function become(resource) {
  Object.assign(process.env, resource.variables);
  return resource;
}

// What the token says; its signature is the matter of the Python suite.
function claims(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
}

module.exports = { subject, become, claims };
