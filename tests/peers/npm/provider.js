// An OAuth provider of another make: oauth2-mock-server, with a device authorization before it. Settings are
// JSON, the first argument: claims of each token, and the seconds that it is good for. The first line on
// standard output is JSON: the port, the name of the key, and the public key. GET /requests has the forms
// of all requests for a token; POST /settings replaces settings.
"use strict";
const crypto = require("crypto");
globalThis.crypto ??= crypto.webcrypto; // Node.js 18 has it under this name only
const express = require("express");
const { OAuth2Server } = require("oauth2-mock-server");

const settings = JSON.parse(process.argv[2]);
const requests = [];
let confirmed = false;

async function main() {
  const { issuer, service } = new OAuth2Server();
  const key = await issuer.keys.generate("RS256");
  const pem = crypto.createPublicKey({ key, format: "jwk" }).export({ type: "spki", format: "pem" });
  service.on("beforeTokenSigning", (token) => {
    Object.assign(token.payload, settings.claims, { exp: token.payload.iat + settings.lifetime });
  });
  service.on("beforeResponse", (response) => {
    response.body.expires_in = settings.lifetime;
  });

  const provider = express();
  provider.use(express.urlencoded({ extended: false }));
  provider.get("/requests", (_, response) => response.json(requests));
  provider.post("/settings", express.json(), (request, response) => {
    Object.assign(settings, request.body);
    response.json(settings);
  });
  provider.post("/device", (request, response) => {
    response.json({ device_code: "device-secret", user_code: "WDJB-MJHT", interval: 1, expires_in: 600,
                    verification_uri: `${issuer.url}/confirm`,
                    verification_uri_complete: `${issuer.url}/confirm?user_code=WDJB-MJHT` });
  });
  provider.get("/confirm", (request, response) => {
    confirmed = request.query.user_code === "WDJB-MJHT";
    response.send(confirmed ? "confirmed" : "wrong code");
  });
  provider.post("/token", (request, response, next) => {
    requests.push({ ...request.body });
    if (request.body.grant_type === "urn:ietf:params:oauth:grant-type:device_code") {
      if (request.body.device_code !== "device-secret") return response.status(400).json({ error: "invalid_grant" });
      if (!confirmed) return response.status(400).json({ error: "authorization_pending" });
      request.body.grant_type = "refresh_token"; // gives the same tokens
    }
    return next();
  });
  provider.use(service.requestHandler);
  const server = provider.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    issuer.url = `http://127.0.0.1:${port}`;
    process.stdout.write(JSON.stringify({ port, kid: key.kid, key: pem }) + "\n");
  });
}

main();
