-- One row per delivery that is not in memory alone: waiting for its turn, or dead. What users read is the view "parked".
--
-- queue is the key deliveries are ordered by (NULL: none), place (lsn, ordinal, id) their order in it. At most a few hundred of a
-- queue are readable at a time: the others are blocked, and so are all behind one that is due later. The relay reads
-- the readable ones by turn, a number that is newer than any before whenever a row becomes readable, so that it never
-- looks at the same stretch of the table twice.
CREATE SEQUENCE {{schema}}.turn;

CREATE TABLE {{schema}}.delivery (
  id          bigint PRIMARY KEY,
  turn        bigint NOT NULL,
  nth         bigint NOT NULL,
  endpoint    text COLLATE "C" NOT NULL,
  queue       text COLLATE "C",
  state       text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'dead')),
  blocked     boolean NOT NULL,
  attempts    integer NOT NULL,
  due         timestamptz,
  status      integer,
  error       text,
  since       timestamptz,
  parked_at   timestamptz NOT NULL DEFAULT now(),
  lsn         pg_lsn NOT NULL,
  ordinal     bigint NOT NULL,
  event_id    text NOT NULL,
  type        text NOT NULL,
  key         text,
  table_name  text NOT NULL,
  kind        smallint NOT NULL,
  readable    boolean NOT NULL,
  payload     bytea,
  headers     text,
  commit_time timestamptz,
  detail      bytea NOT NULL,
  CONSTRAINT delivery_due_is_readable CHECK (NOT blocked OR (due IS NULL AND state = 'waiting'))
) WITH (
  -- A queue in a table: rows come and go for ever, and dead ones must make room long before a fifth of the table is dead.
  -- Vacuum after a few thousand, and without pauses.
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_analyze_threshold = 5000,
  toast.autovacuum_vacuum_scale_factor = 0.01,
  toast.autovacuum_vacuum_threshold = 5000,
  toast.autovacuum_vacuum_cost_delay = 0
);

-- A resend after a crash finds its place taken. Rows without a place in the stream (a replay) have LSN 0/0.
CREATE UNIQUE INDEX delivery_place ON {{schema}}.delivery (endpoint, lsn, ordinal) WHERE lsn > '0/0';

-- What may be read now, by turn.
CREATE INDEX delivery_ready ON {{schema}}.delivery (endpoint, turn)
  WHERE state = 'waiting' AND NOT blocked AND due IS NULL;

-- What waits for a time.
CREATE INDEX delivery_due ON {{schema}}.delivery (endpoint, due)
  WHERE state = 'waiting' AND due IS NOT NULL;

-- The readable part of each queue, and the rest of it with what holds it back.
CREATE INDEX delivery_flow ON {{schema}}.delivery (endpoint, queue, lsn, ordinal, id)
  WHERE state = 'waiting' AND NOT blocked AND queue IS NOT NULL;
CREATE INDEX delivery_stuck ON {{schema}}.delivery (endpoint, queue, lsn, ordinal, id)
  WHERE state = 'waiting' AND (blocked OR due IS NOT NULL);

CREATE INDEX delivery_dead ON {{schema}}.delivery (endpoint, id) WHERE state = 'dead';

CREATE VIEW {{schema}}.parked AS
SELECT id, endpoint, event_id, type, key, state, attempts, due AS next_attempt_at, status AS last_status, error AS last_error, parked_at,
       CASE WHEN readable THEN convert_from(payload, 'UTF8') ELSE '\x' || encode(payload, 'hex') END AS payload,
       headers
FROM {{schema}}.delivery;

COMMENT ON VIEW {{schema}}.parked IS 'Deliveries that wait (state waiting) or were given up (dead). Read it freely; change it with relay retry and relay discard.';

-- How far each endpoint is settled: everything before (lsn, ordinal), except the places in open.
CREATE TABLE {{schema}}.position (
  endpoint  text COLLATE "C" PRIMARY KEY,
  lsn       pg_lsn NOT NULL,
  ordinal   bigint NOT NULL,
  open      text NOT NULL,
  slot      text NOT NULL,
  system_id text NOT NULL,
  saved_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE {{schema}}.endpoint (
  name       text COLLATE "C" PRIMARY KEY,
  paused     boolean NOT NULL DEFAULT false,
  gone       boolean NOT NULL DEFAULT false,
  open_until timestamptz,
  open_time  bigint NOT NULL DEFAULT 0,
  ordering   text NOT NULL DEFAULT '',
  changed_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN {{schema}}.endpoint.open_time IS 'how long the breaker stayed open last, in milliseconds';
