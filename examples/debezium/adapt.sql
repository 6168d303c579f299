-- What the table lacks for relay, without a change to the application: headers that carry the trace on, and a payload in rows
-- that have none.
ALTER TABLE outboxevent ADD COLUMN headers jsonb;

CREATE FUNCTION outboxevent_adapt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.headers := jsonb_strip_nulls(jsonb_build_object(
    'traceparent', substring(NEW.tracingspancontext FROM '(?n)^traceparent=(.*)$'),
    'tracestate', substring(NEW.tracingspancontext FROM '(?n)^tracestate=(.*)$')));
  NEW.payload := coalesce(NEW.payload, 'null');
  RETURN NEW;
END $$;

CREATE TRIGGER outboxevent_adapt BEFORE INSERT ON outboxevent FOR EACH ROW EXECUTE FUNCTION outboxevent_adapt();
