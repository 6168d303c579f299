-- How often a process other than the relay that delivers has changed the endpoint's rows. What that relay remembers of
-- them holds as long as it stays the same.
ALTER TABLE {{schema}}.endpoint ADD COLUMN changes bigint NOT NULL DEFAULT 0;
