-- One message to one recipient. Fixed-width columns first: no padding.
-- The update from accepted to a terminal state touches no indexed column, so it
-- stays within its page (HOT); that is why no index speaks of state.
CREATE TABLE notifications (
  notification_id uuid NOT NULL,
  app_id          bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  expires_at      timestamptz,
  finished_at     timestamptz,
  retention_days  smallint NOT NULL,
  attempts        smallint NOT NULL DEFAULT 0,
  lane            text NOT NULL CHECK (lane IN ('payment', 'otp', 'social', 'marketing')),
  state           text NOT NULL DEFAULT 'accepted'
                  CHECK (state IN ('accepted', 'scheduled', 'held', 'delivered', 'suppressed', 'cancelled', 'expired', 'dead')),
  type            text NOT NULL,
  recipient_id    text NOT NULL,
  actor_id        text,
  object_id       text,
  idempotency_key text,
  channels        text[] NOT NULL,
  -- Why it ended as it did; NULL where the state says all.
  detail          text,
  -- What happened between acceptance and the end, oldest first:
  -- [{"time": ..., "attempt": 1, "detail": "..."}]. NULL for nearly all.
  history         jsonb,
  data            json,
  PRIMARY KEY (notification_id, retention_days),
  CHECK ((finished_at IS NULL) = (state IN ('accepted', 'scheduled', 'held')))
) PARTITION BY LIST (retention_days);

CREATE INDEX notifications_by_recipient ON notifications (app_id, recipient_id, notification_id);

CREATE TABLE notifications_1 PARTITION OF notifications FOR VALUES IN (1) PARTITION BY RANGE (notification_id);
CREATE TABLE notifications_7 PARTITION OF notifications FOR VALUES IN (7) PARTITION BY RANGE (notification_id);
CREATE TABLE notifications_30 PARTITION OF notifications FOR VALUES IN (30) PARTITION BY RANGE (notification_id);
CREATE TABLE notifications_365 PARTITION OF notifications FOR VALUES IN (365) PARTITION BY RANGE (notification_id);
