// Answers the request of tests/lint/npm.py: standard input is JSON, and so is what `work` makes of it.
"use strict";

module.exports = async function answer(work) {
  try {
    const chunks = [];
    for await (const chunk of process.stdin) chunks.push(chunk);
    const result = await work(JSON.parse(Buffer.concat(chunks).toString()));
    process.stdout.write(JSON.stringify(result), () => process.exit(0)); // Go's engine would run on
  } catch (error) {
    console.error(error.stack);
    process.exit(1);
  }
};
