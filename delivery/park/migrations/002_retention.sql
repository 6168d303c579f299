-- Points in the database's history, for retention. When one was taken, every transaction with an ID below xid had ended, and
-- its end stood in the WAL before lsn. settled_at is when everything before lsn was delivered, parked, or for nobody.
CREATE TABLE {{schema}}.horizon (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  system_id  text NOT NULL,
  slot       text NOT NULL,
  xid        bigint NOT NULL,
  lsn        pg_lsn NOT NULL,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  settled_at timestamptz
);

-- Whether an event is parked is asked for every row that retention would delete. Equality is all that is asked.
CREATE INDEX delivery_event ON {{schema}}.delivery USING hash (event_id);
