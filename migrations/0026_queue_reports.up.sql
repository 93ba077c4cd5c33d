-- What worker processes tell of the queues that they consume, so that servers know
-- how fast these move and how old is what waits there: a row each, rewritten every
-- second while anything moves. Not logged: after a crash it is told again.
-- A new table: nobody waits.
CREATE UNLOGGED TABLE queue_reports (
  messages     bigint NOT NULL,
  items        bigint NOT NULL,
  retrying     bigint NOT NULL,
  updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  newest_taken timestamptz,
  queue        text NOT NULL,
  process      text NOT NULL,
  PRIMARY KEY (queue, process)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
