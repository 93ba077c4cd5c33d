-- How housekeeping finds what has been idle too long without an index on state:
-- it reads every notification once, in the order of ids, when it is old enough
-- (position), and keeps the few that were not finished (stragglers).
-- A late pass follows an early one, for what was committed after that had passed.
CREATE TABLE sweep_positions (
  retention_days smallint NOT NULL,
  pass           text NOT NULL CHECK (pass IN ('early', 'late')),
  position       uuid NOT NULL,
  PRIMARY KEY (retention_days, pass)
);

CREATE TABLE stragglers (
  notification_id uuid PRIMARY KEY,
  retention_days  smallint NOT NULL,
  lane            text NOT NULL,
  -- When it is looked at again.
  due_at          timestamptz NOT NULL
);
CREATE INDEX stragglers_by_due ON stragglers (lane, due_at);

INSERT INTO sweep_positions
SELECT days, pass, '00000000-0000-0000-0000-000000000000' FROM unnest(ARRAY[1, 7, 30, 365]) AS days, unnest(ARRAY['early', 'late']) AS pass;
