-- An order and the event that tells of it, in one transaction, from any language that speaks SQL.
BEGIN;

WITH placed AS (
  INSERT INTO orders (customer, total) VALUES ('alice', 99.90) RETURNING id, total
)
INSERT INTO outbox (type, key, payload)
SELECT 'order.created', 'order-' || id, jsonb_build_object('id', id, 'total', total) FROM placed;

COMMIT;
