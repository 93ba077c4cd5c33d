-- What waits for a time, what was decided about it, and what gathers until then. New
-- tables, nullable columns without a default, indexes: nothing is rewritten. Locks: SHARE on
-- dead_letters and schedules while theirs are built.

-- 'hold', 'digest' and 'window' rows stay, put off, when they are released, until whoever
-- carries them out deletes them: so nothing of them is lost, or done twice.
ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check
  CHECK (cause IN ('provider', 'receipt', 'busy', 'resend', 'hold', 'send_time', 'digest', 'window')) NOT VALID;

-- The rules that a message met each time it was decided on, oldest first, at most 10 times:
-- [{"at_us", "outcome", "until_us", "rules": [{"gate", "level", "choice", "until_us", "count",
-- "limit", "window_us"}]}]. NULL: none; it passed. Of notifications: those of the feed.
ALTER TABLE notifications ADD COLUMN trail jsonb;
ALTER TABLE deliveries ADD COLUMN trail jsonb;

-- Recipients that rules kept an event away from, by the reason in words; NULL: none.
ALTER TABLE events ADD COLUMN suppressed jsonb;

-- Counts by name, added up.
CREATE FUNCTION add_counts(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT jsonb_object_agg(name, count)
  FROM (SELECT name, sum(count::bigint) AS count
        FROM (SELECT * FROM jsonb_each_text(coalesce(a, '{}')) UNION ALL SELECT * FROM jsonb_each_text(b)) AS e (name, count)
        GROUP BY name) AS total
$$;

-- A trail with one more entry, the newest 10.
CREATE FUNCTION newest_trail(before jsonb, further jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN further IS NULL THEN before
              WHEN before IS NULL THEN further
              WHEN jsonb_array_length(before) < 10 THEN before || further
              ELSE (before - 0) || further END
$$;

-- What is gathered for a recipient on a channel, until it is sent as one notification.
CREATE TABLE digests (
  digest_id       uuid PRIMARY KEY,
  app_id          bigint NOT NULL,
  opened_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  touched_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at       timestamptz,
  -- That it became; NULL: nothing was left to tell.
  notification_id uuid,
  channel         text NOT NULL CHECK (channel IN ('email', 'sms', 'apns', 'fcm', 'webhook')),
  recipient_id    text COLLATE "C" NOT NULL,
  CHECK (closed_at IS NOT NULL OR notification_id IS NULL)
);
CREATE UNIQUE INDEX digests_open ON digests (app_id, recipient_id, channel) WHERE closed_at IS NULL;
CREATE INDEX digests_by_recipient ON digests (app_id, recipient_id, digest_id);
CREATE INDEX digests_closed ON digests (closed_at) WHERE closed_at IS NOT NULL;

-- Its members: deliveries that are held for it, and leave it as they end.
CREATE TABLE digest_entries (
  digest_id       uuid NOT NULL REFERENCES digests ON DELETE CASCADE,
  notification_id uuid NOT NULL,
  delivery_id     uuid NOT NULL,
  retention_days  smallint NOT NULL,
  PRIMARY KEY (digest_id, delivery_id)
);
CREATE INDEX digest_entries_by_delivery ON digest_entries (delivery_id);
-- To keep the slices in which they are.
CREATE INDEX digest_entries_by_slice ON digest_entries (retention_days, notification_id);

-- The same of what waits.
CREATE INDEX schedules_by_slice ON schedules (retention_days, notification_id) WHERE cause <> 'send_time';

-- To tell what became of a notification.
CREATE INDEX dead_letters_by_notification ON dead_letters (notification_id) WHERE notification_id IS NOT NULL;
