// An issuer of workloads' tokens on this machine, as a cluster or a build pipeline has one: discovery, keys, tokens.
// Source: OpenID Connect Discovery 1.0, section 4.
"use strict";

const crypto = require("node:crypto");
const http = require("node:http");

const AUDIENCE = "api://AzureADTokenExchange";
const KEY_ID = "conformance";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

async function start() {
  const { privateKey, publicKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const server = http.createServer((request, response) => {
    const page = pages[request.url];
    response.writeHead(page ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(page ?? {}));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const pages = {
    "/.well-known/openid-configuration": { issuer: url, jwks_uri: `${url}/keys` },
    "/keys": { keys: [{ ...publicKey.export({ format: "jwk" }), use: "sig", kid: KEY_ID }] },
  };
  return { url, token: (subject) => signed(privateKey, url, subject), close: () => server.close() };
}

function signed(privateKey, url, subject) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: url, sub: subject, aud: [AUDIENCE], iat: now, nbf: now, exp: now + 3600 };
  const input = `${encode({ alg: "RS256", kid: KEY_ID })}.${encode(claims)}`;
  return `${input}.${crypto.sign("RSA-SHA256", Buffer.from(input), privateKey).toString("base64url")}`;
}

module.exports = { start, AUDIENCE };
