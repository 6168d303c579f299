"""An idempotent consumer of relay's webhooks: it verifies each request and keeps its webhook-id in the same transaction
as its work, so that an event that comes twice counts once. It needs nothing but Python.

    RELAY_SECRET=whsec_… DATABASE=received.db PORT=4003 python3 receiver.py
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["RELAY_SECRET"].removeprefix("whsec_"))
DATABASE = os.environ.get("DATABASE", "received.db")

SCHEMA = """
CREATE TABLE IF NOT EXISTS received (webhook_id TEXT PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS revenue (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), orders INTEGER NOT NULL, cents INTEGER NOT NULL);
INSERT OR IGNORE INTO revenue VALUES (1, 0, 0);
"""


def connect():
    return sqlite3.connect(DATABASE, timeout=10, isolation_level=None)


def verified(headers, body):
    """Standard Webhooks: HMAC-SHA256 of id.timestamp.body. While a secret is rotated there are several signatures."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not webhook_id or not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return any(
        hmac.compare_digest(expected.encode(), signature.encode())
        for signature in headers.get("webhook-signature", "").split(" ")
    )


def work(webhook_id, event):
    """Keeps the id and does what the event asks for, both or neither."""
    db = connect()
    try:
        db.execute("BEGIN IMMEDIATE")
        new = db.execute("INSERT OR IGNORE INTO received (webhook_id) VALUES (?)", (webhook_id,)).rowcount == 1
        if new and event["type"] == "order.created":
            cents = round(event["data"]["total"] * 100)
            db.execute("UPDATE revenue SET orders = orders + 1, cents = cents + ?", (cents,))
        db.execute("COMMIT")
    finally:
        db.close()  # which rolls back what was not committed


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not verified(self.headers, body):  # before anything else looks at the body
            return self.answer(401, "no signature matches")
        try:
            work(self.headers["webhook-id"], json.loads(body))
        except Exception as err:
            print(f"{err!r}", flush=True)
            return self.answer(500)  # relay sends it again
        self.answer(204)

    def do_GET(self):
        db = connect()
        orders, cents = db.execute("SELECT orders, cents FROM revenue").fetchone()
        db.close()
        self.answer(200, json.dumps({"orders": orders, "total": cents / 100}))

    def answer(self, status, text=""):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    db = connect()
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    db.close()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 0))), Receiver)
    print(f"listening at http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
