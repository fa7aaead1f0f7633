// Sends a message with nodemailer. Settings are JSON, the first argument; the result is JSON.
"use strict";
const fs = require("fs");
const nodemailer = require("nodemailer");

const settings = JSON.parse(process.argv[2]);
const transport = nodemailer.createTransport({
  host: "127.0.0.1",
  port: settings.port,
  ignoreTLS: !settings.ca,
  requireTLS: Boolean(settings.ca),
  tls: settings.ca ? { ca: fs.readFileSync(settings.ca), servername: "mail.test" } : {},
  name: "client.test",
  auth: settings.auth,
  authMethod: settings.method,
});
transport
  .sendMail({
    envelope: { from: "a@client.test", to: ["box@mail.test"] },
    raw: Buffer.from(settings.message, "base64"),
  })
  .then((info) => console.log(JSON.stringify({ sent: true, response: info.response })))
  .catch((error) =>
    console.log(JSON.stringify({ sent: false, code: error.responseCode, response: error.response || error.message })),
  );
