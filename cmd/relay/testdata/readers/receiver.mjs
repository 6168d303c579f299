// Verifies and reads each request with other people's packages, and says on standard output what they made of it.
// Usage: node receiver.mjs <whsec_ secret> <whpk_ key>
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { createServer } from "node:http";
import { HTTP } from "cloudevents";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const [secret, publicKey] = process.argv.slice(2);

// No package verifies v1a, so node's own cryptography does.
const ed25519 = createPublicKey({
  key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(publicKey.slice("whpk_".length), "base64").toString("base64url") },
  format: "jwk",
});

function verifyEd25519(body, headers) {
  const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const good = headers["webhook-signature"].split(" ").some((signature) => {
    const [version, text] = signature.split(",");
    return version === "v1a" && verifySignature(null, signed, ed25519, Buffer.from(text, "base64"));
  });
  if (!good) throw new Error("no v1a signature matches");
}

const readers = {
  standardwebhooks: (body, headers) => new StandardWebhook(secret).verify(body, headers),
  svix: (body, headers) => new SvixWebhook(secret).verify(body, headers),
  ed25519: verifyEd25519,
};

function attempt(reader) {
  try {
    reader();
    return "accepted";
  } catch (err) {
    return String(err.message ?? err);
  }
}

const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const report = { path: req.url, verdicts: {}, events: [] };
    for (const [name, reader] of Object.entries(readers)) {
      report.verdicts[name] = attempt(() => reader(body, req.headers));
    }
    if (req.url.includes("cloudevents")) {
      report.verdicts.cloudevents = attempt(() => {
        report.events = [HTTP.toEvent({ headers: req.headers, body })].flat().map((event) => {
          event.validate();
          return event.toJSON();
        });
      });
    }
    console.log(JSON.stringify(report));
    res.writeHead(204).end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
