-- Rows to publish, written in the transaction of the facts they speak of and
-- deleted when the broker has confirmed them. By lane, so that no lane's rows
-- stand in another's way; within a lane the rows whose publish failed live in a
-- part of their own (deferred), so that a million of them cost the ready ones
-- nothing. message_id is a UUIDv7: its order is nearly the order of acceptance.
CREATE TABLE outbox (
  message_id   uuid NOT NULL,
  app_id       bigint NOT NULL,
  available_at timestamptz NOT NULL DEFAULT now(),
  attempts     int NOT NULL DEFAULT 0,
  deferred     boolean NOT NULL DEFAULT false,
  lane         text NOT NULL,
  exchange     text NOT NULL,
  routing_key  text NOT NULL,
  type         text NOT NULL,
  traceparent  text,
  last_error   text,
  payload      bytea NOT NULL,
  PRIMARY KEY (message_id, lane, deferred)
) PARTITION BY LIST (lane);

DO $$
DECLARE
  lane text;
BEGIN
  FOREACH lane IN ARRAY ARRAY['payment', 'otp', 'social', 'marketing', 'fanout'] LOOP
    EXECUTE format('CREATE TABLE outbox_%s PARTITION OF outbox FOR VALUES IN (%L) PARTITION BY LIST (deferred)', lane, lane);
    -- Rows come and go all the time: vacuum by count, not by share of the table.
    EXECUTE format('CREATE TABLE outbox_%s_ready PARTITION OF outbox_%s FOR VALUES IN (false)
                    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                          autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
                          autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
                          autovacuum_vacuum_cost_delay = 0)', lane, lane);
    EXECUTE format('CREATE TABLE outbox_%s_deferred PARTITION OF outbox_%s FOR VALUES IN (true)', lane, lane);
    EXECUTE format('CREATE INDEX ON outbox_%s_deferred (available_at)', lane);
  END LOOP;
END $$;
