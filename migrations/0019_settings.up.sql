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

-- The narrowest of these preferences that speaks of a type in the feed; NULL: none.
CREATE FUNCTION narrowest_choice(preferences jsonb, type_name text, category text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT p ->> 'choice' FROM jsonb_array_elements(preferences) AS p
  WHERE coalesce(p ->> 'channel', '') IN ('', 'in_app')
    AND CASE p ->> 'scope' WHEN 'type' THEN p ->> 'name' = type_name
                           WHEN 'category' THEN category <> '' AND p ->> 'name' = category ELSE true END
  ORDER BY CASE p ->> 'scope' WHEN 'type' THEN 0 WHEN 'category' THEN 1 ELSE 2 END, coalesce(p ->> 'channel', '') = ''
  LIMIT 1
$$;

-- Whether a feed shows something that is stored once for all: what carillon/domain/decider
-- says of the feed, for those who look at it later.
CREATE FUNCTION shows_in_feed(app bigint, recipient text, type_name text, actor text, object text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT NOT EXISTS (
    SELECT FROM (SELECT critical OR required AS always, category FROM types t
                 WHERE t.name = type_name AND t.app_id IN (0, app) ORDER BY t.app_id DESC LIMIT 1) AS type
    WHERE NOT always
      AND (EXISTS (SELECT FROM mutes m WHERE m.app_id = app AND m.recipient_id = recipient AND m.muted_until > now()
                     AND (m.kind = 'actor' AND m.muted_id = actor OR m.kind = 'object' AND m.muted_id = object))
           OR coalesce((SELECT narrowest_choice(s.preferences, type_name, category) FROM recipient_settings s
                        WHERE s.app_id = app AND s.recipient_id = recipient AND s.preferences <> '[]'),
                       (SELECT narrowest_choice(jsonb_agg(jsonb_build_object('scope', scope, 'name', name, 'channel', channel,
                                                                             'choice', choice)), type_name, category)
                        FROM app_preferences p WHERE p.app_id = app)) = 'off'))
$$;
