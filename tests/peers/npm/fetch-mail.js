// Logs in with imapflow, appends a message and fetches it. Settings are JSON, the first argument; the
// result is JSON.
"use strict";
const { ImapFlow } = require("imapflow");

const settings = JSON.parse(process.argv[2]);

async function main() {
  const client = new ImapFlow({
    host: "127.0.0.1",
    port: settings.port,
    secure: false,
    logger: false,
    tls: { rejectUnauthorized: false },
    auth: settings.auth,
  });
  client.on("error", () => {});
  await client.connect();
  const mailbox = settings.mailbox || "INBOX";
  if (settings.mailbox) await client.mailboxCreate(mailbox);
  const lock = await client.getMailboxLock(mailbox);
  const { uid } = await client.append(mailbox, Buffer.from(settings.message, "base64"));
  const { source } = await client.fetchOne(String(uid), { source: true }, { uid: true });
  lock.release();
  await client.logout();
  return { data: source.toString("base64") };
}

main()
  .catch((error) => ({ failed: error.authenticationFailed || false, response: error.responseText || error.message }))
  .then((result) => {
    console.log(JSON.stringify(result));
    process.exit(0); // after a refusal the library keeps its connection
  });
