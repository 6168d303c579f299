// An idempotent consumer of relay's webhooks: it verifies each request and keeps its webhook-id in the same transaction
// as its work, so that an event that comes twice counts once.
//
//   npm install
//   RELAY_SECRET=whsec_… DATABASE_URL=postgres://… PORT=4002 node receiver.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import pg from "pg";

const key = Buffer.from(process.env.RELAY_SECRET.replace(/^whsec_/, ""), "base64");
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });

await pool.query(`
  CREATE TABLE IF NOT EXISTS received (webhook_id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS revenue (only_row bool PRIMARY KEY DEFAULT true CHECK (only_row), orders bigint NOT NULL, total numeric NOT NULL);
  INSERT INTO revenue (orders, total) VALUES (0, 0) ON CONFLICT DO NOTHING`);

// Standard Webhooks: HMAC-SHA256 of id.timestamp.body. While a secret is rotated there are several signatures.
function verified(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!id || !signatures || !(Math.abs(Date.now() / 1000 - Number(timestamp)) < 300)) return false;
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(" ").some((signature) => {
    const [version, text] = signature.split(",");
    const given = Buffer.from(text ?? "", "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

// Keeps the id and does what the event asks for, both or neither.
async function work(id, event) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const { rowCount } = await client.query("INSERT INTO received (webhook_id) VALUES ($1) ON CONFLICT DO NOTHING", [id]);
    if (rowCount === 1 && event.type === "order.created") {
      await client.query("UPDATE revenue SET orders = orders + 1, total = total + $1", [event.data.total]);
    }
    await client.query("COMMIT");
  } catch (err) {
    await client.query("ROLLBACK");
    throw err;
  } finally {
    client.release();
  }
}

async function answer(req, body) {
  if (req.method === "GET" && req.url === "/revenue") {
    const { rows } = await pool.query("SELECT json_build_object('orders', orders, 'total', total) AS revenue FROM revenue");
    return [200, JSON.stringify(rows[0].revenue)];
  }
  if (req.method !== "POST" || req.url !== "/webhooks") return [404];
  if (!verified(req.headers, body)) return [401, "no signature matches"]; // before anything else looks at the body
  await work(req.headers["webhook-id"], JSON.parse(body));
  return [204];
}

const server = createServer(async (req, res) => {
  try {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const [status, text] = await answer(req, Buffer.concat(chunks));
    res.writeHead(status).end(text);
  } catch (err) {
    console.error(err);
    res.writeHead(500).end(); // relay sends it again
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening at http://127.0.0.1:${server.address().port}`);
});
