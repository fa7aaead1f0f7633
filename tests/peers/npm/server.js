// An SMTP server of another make: smtp-server. Settings are JSON, the first argument; each event is a
// line of JSON on standard output: the port, each login, each message.
"use strict";
const fs = require("fs");
const { SMTPServer } = require("smtp-server");

const settings = JSON.parse(process.argv[2]);
const say = (event) => fs.writeSync(1, JSON.stringify(event) + "\n");

function check(auth) {
  if (auth.method === "XOAUTH2") return settings.tokens.includes(auth.accessToken);
  return auth.username === settings.user && auth.password === settings.password;
}

const server = new SMTPServer({
  secure: false,
  name: "mail.test",
  key: fs.readFileSync(settings.key),
  cert: fs.readFileSync(settings.certificate),
  authMethods: settings.methods,
  disableReverseLookup: true,
  onAuth(auth, session, done) {
    const accepted = check(auth);
    say({ event: "login", method: auth.method, user: auth.username, secure: session.secure, accepted });
    if (accepted) return done(null, { user: auth.username });
    if (auth.method === "XOAUTH2") return done(null, { data: { status: "401", schemes: "bearer mac", scope: "my" } });
    return done(new Error("Invalid username or password"));
  },
  onData(stream, session, done) {
    const pieces = [];
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => {
      say({ event: "mail", user: session.user, data: Buffer.concat(pieces).toString("base64") });
      done();
    });
  },
});
server.on("error", (error) => say({ event: "error", text: error.message }));
server.listen(0, "127.0.0.1", () => say({ event: "port", port: server.server.address().port }));
