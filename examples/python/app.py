"""Places an order and tells of it, in one transaction.

    DATABASE_URL=postgres://localhost/shop python3 app.py alice 99.90
"""

import os
import sys
from decimal import Decimal

import psycopg


def place_order(conn, customer, total):
    """Writes the order and the event that tells of it: both are committed, or neither."""
    with conn.transaction():
        (order_id,) = conn.execute(
            "INSERT INTO orders (customer, total) VALUES (%s, %s) RETURNING id",
            (customer, total),
        ).fetchone()
        conn.execute(
            """INSERT INTO outbox (type, key, payload) VALUES ('order.created', %s,
               jsonb_build_object('id', %s::bigint, 'total', %s::numeric))""",
            (f"order-{order_id}", order_id, total),
        )
    return order_id


if __name__ == "__main__":
    customer, total = sys.argv[1:] or ["alice", "99.90"]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        print(f"placed order {place_order(conn, customer, Decimal(total))}")
