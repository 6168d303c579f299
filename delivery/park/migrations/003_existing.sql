-- Rows that were in the outbox when a slot was made are parked before it is there. If that was cut off, they are at this
-- place, and go before it begins anew.
CREATE TABLE {{schema}}.existing (
  slot  text PRIMARY KEY,
  place pg_lsn NOT NULL,
  done  boolean NOT NULL
);
CREATE SEQUENCE {{schema}}.existing_place;
