// Renders templates with Go's text/template. Standard input is JSON, {"templates": {NAME: TEXT}, "values": ANY};
// the result is JSON, {NAME: TEXT}.
"use strict";
const { pathToFileURL } = require("url");

globalThis.crypto ??= require("crypto").webcrypto; // Node.js 18 has it under this name only

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const { templates, values } = JSON.parse(Buffer.concat(chunks).toString());
  const engine = await import(pathToFileURL(require.resolve("@evertdespiegeleer/go-template")));
  const rendered = {};
  for (const [name, text] of Object.entries(templates)) {
    try {
      rendered[name] = await engine.parse(text, values);
    } catch (error) {
      throw new Error(`${name}: ${error.message}`);
    }
  }
  process.stdout.write(JSON.stringify(rendered), () => process.exit(0)); // the engine would run on
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
