-- The places from (lsn, ordinal) on that are settled too: of deliveries that were parked just before a crash and drained after it.
ALTER TABLE {{schema}}.position ADD COLUMN beyond text NOT NULL DEFAULT '';
