-- Run between the stop of the connector and the first start of relay: relay begins right behind what the connector has confirmed.
SELECT pg_replication_slot_advance('relay', confirmed_flush_lsn)
FROM pg_replication_slots WHERE slot_name = 'debezium' AND NOT active;
