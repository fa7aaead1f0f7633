// Renders templates with Go's text/template. The request is {"templates": {NAME: TEXT}, "values": ANY}, the answer
// {NAME: TEXT}.
"use strict";
const { pathToFileURL } = require("url");
const answer = require("./answer.js");

globalThis.crypto ??= require("crypto").webcrypto; // Node.js 18 has it under this name only

answer(async ({ templates, values }) => {
  const engine = await import(pathToFileURL(require.resolve("@evertdespiegeleer/go-template")));
  const rendered = {};
  for (const [name, text] of Object.entries(templates)) {
    try {
      rendered[name] = await engine.parse(text, values);
    } catch (error) {
      throw new Error(`${name}: ${error.message}`);
    }
  }
  return rendered;
});
