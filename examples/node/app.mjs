// Places an order and tells of it, in one transaction.
//
//   npm ci
//   DATABASE_URL=postgres://localhost/shop node app.mjs alice 99.90
import pg from "pg";

// Writes the order and the event that tells of it: both are committed, or neither.
async function placeOrder(client, customer, total) {
  await client.query("BEGIN");
  try {
    const { rows } = await client.query("INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id", [customer, total]);
    const id = rows[0].id; // a string: a bigint may be too large for a number
    await client.query(
      `INSERT INTO outbox (type, key, payload) VALUES ('order.created', 'order-' || $1,
         jsonb_build_object('id', $1::text::bigint, 'total', $2::text::numeric))`,
      [id, total],
    );
    await client.query("COMMIT");
    return id;
  } catch (err) {
    await client.query("ROLLBACK");
    throw err;
  }
}

const [customer = "alice", total = "99.90"] = process.argv.slice(2);
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
try {
  console.log(`placed order ${await placeOrder(client, customer, total)}`);
} finally {
  await client.end();
}
