-- What a type tells at most once in a while. One row per key, kept from owner to
-- owner; it is free again when it has expired.
CREATE TABLE dedupe_windows (
  app_id     bigint NOT NULL,
  -- The event that took it: a repeat of it is let through.
  owner_id   uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  type       text NOT NULL,
  window_key text NOT NULL,
  PRIMARY KEY (app_id, type, window_key)
) WITH (fillfactor = 80);
CREATE INDEX dedupe_windows_by_expiry ON dedupe_windows (expires_at);

-- A mustache template of the key and the window's length; both or neither.
ALTER TABLE types ADD COLUMN dedupe_key text, ADD COLUMN dedupe_window interval CHECK (dedupe_window > interval '0'),
  ADD CHECK ((dedupe_key IS NULL) = (dedupe_window IS NULL));
UPDATE types SET dedupe_key = '{{actor_id}}', dedupe_window = interval '600 seconds' WHERE app_id = 0 AND name = 'stream.start';
UPDATE catalogue_version SET version = version + 1;
