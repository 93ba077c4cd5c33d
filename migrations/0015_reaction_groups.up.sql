-- Reactions that are accepted and not applied yet, as they were put into the outbox
-- together: what a queue lost of them is queued again from here. A new table; takes
-- no lock on others.
CREATE TABLE reaction_groups (
  app_id     bigint NOT NULL,
  -- The last time it was put into the outbox.
  touched_at timestamptz NOT NULL DEFAULT now(),
  -- How often housekeeping has queued it again; above a bound it is given up.
  requeues   smallint NOT NULL DEFAULT 0,
  -- A UUIDv7, the message_id of its row in the outbox: the oldest are found by it.
  group_id   uuid PRIMARY KEY,
  type       text NOT NULL,
  payload    bytea NOT NULL
-- Rows are there for moments and hardly ever updated: full pages, and vacuum by
-- count, not by share of the table. As the outbox.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
        autovacuum_vacuum_cost_delay = 0);
