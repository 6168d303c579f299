-- An outbox in the shape that Debezium's outbox event router expects, with the column in which tracing extensions leave their
-- context: the text of a Java properties file.
CREATE TABLE outboxevent (
  id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  aggregatetype      varchar(255) NOT NULL,
  aggregateid        varchar(255) NOT NULL,
  type               varchar(255) NOT NULL,
  payload            jsonb,
  "timestamp"        timestamptz NOT NULL DEFAULT now(),
  tracingspancontext text
);
