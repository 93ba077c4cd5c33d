-- What types, apps and recipients say about when and how somebody is told.
-- Locks: ACCESS EXCLUSIVE on types for an instant (columns with constant defaults).
ALTER TABLE types
  ADD COLUMN category text NOT NULL DEFAULT '' CHECK (category = '' OR category ~ '^[a-z][a-z0-9._-]{0,99}$'),
  -- Neither a preference nor a mute keeps it away.
  ADD COLUMN required boolean NOT NULL DEFAULT false,
  -- {"caps": [{"channel", "limit", "window_seconds"}], "cap_overflow", "quiet_overflow",
  --  "aggregation": {"window_seconds", "sliding", "max_window_seconds"}}; what is absent is the default.
  ADD COLUMN policy jsonb NOT NULL DEFAULT '{}';

-- An app's defaults: for everything, a category or a type; on one channel, or ('') all.
CREATE TABLE app_preferences (
  app_id  bigint NOT NULL,
  scope   text NOT NULL CHECK (scope IN ('all', 'category', 'type')),
  name    text NOT NULL CHECK ((name = '') = (scope = 'all')),
  channel text NOT NULL,
  choice  text NOT NULL CHECK (choice IN ('on', 'off', 'digest')),
  PRIMARY KEY (app_id, scope, name, channel)
);

-- One row for all that a recipient has said: one read. Whoever has said nothing has none.
CREATE TABLE recipient_settings (
  app_id               bigint NOT NULL,
  do_not_disturb_until timestamptz,
  updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  recipient_id         text COLLATE "C" NOT NULL,
  -- [{"scope", "name", "channel", "choice"}]
  preferences          jsonb NOT NULL DEFAULT '[]',
  -- [{"day": 0 to 6 from Monday, "start", "end"}], in minutes of the day.
  quiet_hours          jsonb NOT NULL DEFAULT '[]',
  -- {"every": "hour" | "day" | "week", "minute", "day"}; NULL: every day at nine.
  digest_time          jsonb,
  PRIMARY KEY (app_id, recipient_id)
);

-- Whose messages, or messages about what, a recipient does not want.
CREATE TABLE mutes (
  app_id       bigint NOT NULL,
  muted_until  timestamptz NOT NULL DEFAULT 'infinity',
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  recipient_id text COLLATE "C" NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('actor', 'object')),
  muted_id     text COLLATE "C" NOT NULL,
  PRIMARY KEY (app_id, recipient_id, kind, muted_id)
);
-- To forget everything about one person, who may have been muted.
CREATE INDEX mutes_of_actor ON mutes (app_id, muted_id, recipient_id) WHERE kind = 'actor';
