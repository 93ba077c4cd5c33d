-- One row a recipient: the counters of its feed. Half-filled pages, so that the
-- update that every delivery makes stays within its page.
CREATE TABLE feed_heads (
  app_id        bigint NOT NULL,
  last_seq      bigint NOT NULL DEFAULT 0,
  -- What retention has taken: streams can't be resumed from below it.
  floor_seq     bigint NOT NULL DEFAULT 0,
  unread        bigint NOT NULL DEFAULT 0 CHECK (unread >= 0),
  -- Everything up to here is read.
  last_read_seq bigint NOT NULL DEFAULT 0,
  -- The seq of the newest read marker.
  marker_seq    bigint NOT NULL DEFAULT 0,
  recipient_id  text NOT NULL,
  PRIMARY KEY (app_id, recipient_id),
  CHECK (floor_seq <= last_seq AND last_read_seq <= last_seq AND marker_seq <= last_seq)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- What a recipient sees. Texts that are empty are NULL.
CREATE TABLE feed_items (
  notification_id   uuid NOT NULL,
  app_id            bigint NOT NULL,
  seq               bigint NOT NULL CHECK (seq > 0),
  created_at        timestamptz NOT NULL,
  -- The seq of the marker that marked this one item; NULL if none did.
  read_seq          bigint,
  retention_days    smallint NOT NULL,
  recipient_id      text NOT NULL,
  type              text NOT NULL,
  title             text NOT NULL,
  body              text,
  actor_id          text,
  actor_name        text,
  actor_picture_url text,
  image_url         text,
  action_link       text,
  badge             text,
  object_id         text,
  data              json,
  PRIMARY KEY (notification_id, retention_days)
) PARTITION BY LIST (retention_days);

CREATE INDEX feed_items_by_recipient ON feed_items (app_id, recipient_id, seq);
CREATE INDEX feed_items_marked ON feed_items (app_id, recipient_id, read_seq) WHERE read_seq IS NOT NULL;

CREATE TABLE feed_items_1 PARTITION OF feed_items FOR VALUES IN (1) PARTITION BY RANGE (notification_id);
CREATE TABLE feed_items_7 PARTITION OF feed_items FOR VALUES IN (7) PARTITION BY RANGE (notification_id);
CREATE TABLE feed_items_30 PARTITION OF feed_items FOR VALUES IN (30) PARTITION BY RANGE (notification_id);
CREATE TABLE feed_items_365 PARTITION OF feed_items FOR VALUES IN (365) PARTITION BY RANGE (notification_id);

-- A first day's slices; the relay's housekeeping keeps making them ahead.
SELECT ensure_slices(now() - interval '1 day', now() + interval '3 days');
