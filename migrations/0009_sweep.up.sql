-- How housekeeping finds what has been idle too long without an index on state:
-- it reads every notification once, in the order of ids, when it is old enough
-- (position), and keeps the few that were not finished (stragglers).
CREATE TABLE sweep_positions (
  retention_days smallint PRIMARY KEY,
  position       uuid NOT NULL
);

CREATE TABLE stragglers (
  notification_id uuid PRIMARY KEY,
  retention_days  smallint NOT NULL,
  lane            text NOT NULL,
  -- When it is looked at again.
  due_at          timestamptz NOT NULL
);
CREATE INDEX stragglers_by_due ON stragglers (lane, due_at);

INSERT INTO sweep_positions SELECT days, '00000000-0000-0000-0000-000000000000' FROM unnest(ARRAY[1, 7, 30, 365]) AS days;
