-- Transactions that perhaps no slot has sent, from from_xid to before to_xid: what was written before a slot was made.
-- Retention leaves their rows alone. to_xid is NULL while the slot is being made.
CREATE TABLE {{schema}}.gap (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  from_xid bigint NOT NULL,
  to_xid   bigint,
  made_at  timestamptz NOT NULL DEFAULT now()
);

-- Rows ever inserted into the outbox tables when the horizon was taken, by the server's statistics. What was inserted since
-- and is not there any more cannot be sent again when the slot is lost.
ALTER TABLE {{schema}}.horizon ADD COLUMN inserted bigint;
