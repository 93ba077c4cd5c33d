-- What an app may send, who was shut out, what is sent again and again, and the time of
-- sandboxes. New tables, and columns with constant defaults: nothing is rewritten.
ALTER TABLE apps
  -- Notifications per second and at once; 0: no limit.
  ADD COLUMN app_rate bigint NOT NULL DEFAULT 0 CHECK (app_rate BETWEEN 0 AND 1000000),
  ADD COLUMN app_burst bigint NOT NULL DEFAULT 0 CHECK (app_burst >= 0),
  ADD COLUMN sender_rate bigint NOT NULL DEFAULT 0 CHECK (sender_rate BETWEEN 0 AND 1000000),
  ADD COLUMN sender_burst bigint NOT NULL DEFAULT 0 CHECK (sender_burst >= 0),
  ADD COLUMN runaway_per_minute bigint NOT NULL DEFAULT 0 CHECK (runaway_per_minute >= 0),
  ADD COLUMN sandbox boolean NOT NULL DEFAULT false,
  -- How far its clock is ahead, in microseconds.
  ADD COLUMN clock_offset bigint NOT NULL DEFAULT 0 CHECK (clock_offset >= 0),
  ADD CONSTRAINT apps_clock_check CHECK (sandbox OR clock_offset = 0);

-- Senders (actor ids; '': none) that are shut out until somebody lifts it.
CREATE TABLE tripped_senders (
  app_id           bigint NOT NULL,
  count            bigint NOT NULL,
  limit_per_minute bigint NOT NULL,
  tripped_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  sender_id        text COLLATE "C" NOT NULL,
  PRIMARY KEY (app_id, sender_id)
);

CREATE TABLE recurrences (
  recurrence_id uuid PRIMARY KEY,
  app_id        bigint NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- By the app's clock. NULL: never again.
  next_at       timestamptz,
  cron          text NOT NULL,
  time_zone     text NOT NULL,
  type          text NOT NULL,
  recipient_id  text COLLATE "C",
  last_error    text,
  -- A carillon.v1.CreateRecurrenceRequest.
  request       bytea NOT NULL
);
CREATE INDEX recurrences_by_app ON recurrences (app_id, recurrence_id);
CREATE INDEX recurrences_by_time ON recurrences (next_at, recurrence_id) WHERE next_at IS NOT NULL;
