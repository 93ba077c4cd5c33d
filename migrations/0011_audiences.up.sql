-- Audiences: who follows whom and who subscribes to which topic, and the events
-- told to them. New tables, and one column with a constant default: no rewrite.

-- The number of an app's newest event that is stored once for its whole audience
-- (events.position). Its row lock makes the publishers of such events take turns
-- until they commit, so whoever sees a number has everything up to it.
CREATE TABLE event_positions (
  app_id   bigint PRIMARY KEY,
  position bigint NOT NULL CHECK (position > 0)
);

-- kind 'followers': member_id follows group_id. kind 'topic': member_id subscribes
-- to topic group_id. Paged in the order of member_id, byte by byte.
CREATE TABLE memberships (
  app_id         bigint NOT NULL,
  -- The app's event position when it began: events up to there are not for this member.
  since_position bigint NOT NULL,
  kind           text COLLATE "C" NOT NULL CHECK (kind IN ('followers', 'topic')),
  group_id       text COLLATE "C" NOT NULL,
  member_id      text COLLATE "C" NOT NULL,
  PRIMARY KEY (app_id, kind, group_id, member_id)
);

-- Events with larger audiences are stored once and enter a feed when it is next looked at.
ALTER TABLE apps ADD COLUMN shared_audience_threshold bigint NOT NULL DEFAULT 100000 CHECK (shared_audience_threshold >= 0);

-- Up to which position the app's shared events are in this feed.
ALTER TABLE feed_heads ADD COLUMN event_position bigint NOT NULL DEFAULT 0;

CREATE TABLE events (
  event_id        uuid PRIMARY KEY,
  app_id          bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  -- When it may be forgotten: well after its retention.
  expires_at      timestamptz NOT NULL,
  started_at      timestamptz,
  finished_at     timestamptz,
  -- NULL until it was measured.
  audience_size   bigint,
  -- Set if it is stored once for all.
  position        bigint,
  retention_days  smallint NOT NULL,
  lane            text NOT NULL CHECK (lane IN ('social', 'marketing')),
  state           text NOT NULL DEFAULT 'accepted'
                  CHECK (state IN ('accepted', 'expanding', 'paused', 'done', 'cancelled', 'suppressed')),
  audience        text NOT NULL CHECK (audience IN ('followers', 'topic', 'users', 'everyone')),
  -- Whose followers, or which topic.
  audience_id     text COLLATE "C",
  -- Sorted byte by byte.
  users           text[],
  type            text NOT NULL,
  actor_id        text,
  object_id       text,
  idempotency_key text,
  traceparent     text,
  -- Why it ended as it did.
  detail          text,
  data            json,
  -- The texts of the feed item, rendered once; placeholder stands for the recipient.
  item            jsonb,
  placeholder     text NOT NULL DEFAULT '',
  CHECK ((audience_id IS NOT NULL) = (audience IN ('followers', 'topic'))),
  CHECK ((users IS NOT NULL) = (audience = 'users')),
  CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'cancelled', 'suppressed')))
);
CREATE UNIQUE INDEX events_by_position ON events (app_id, position) WHERE position IS NOT NULL;
CREATE INDEX events_by_expiry ON events (expires_at);
CREATE INDEX events_unfinished ON events (event_id) WHERE finished_at IS NULL;

-- An event's audience in ranges of member ids that are paged side by side. The
-- cursor moves in the transaction that writes the page's items.
CREATE TABLE event_shards (
  event_id   uuid NOT NULL REFERENCES events ON DELETE CASCADE,
  expanded   bigint NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT now(),
  shard      smallint NOT NULL,
  done       boolean NOT NULL DEFAULT false,
  -- The last member handled; empty: none yet.
  cursor     text COLLATE "C" NOT NULL,
  -- The last member of the range; NULL: to the end.
  last_id    text COLLATE "C",
  PRIMARY KEY (event_id, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- A UUIDv7 of this moment (RFC 9562, section 5.7): 48 bits of milliseconds, the
-- rest of a random one with the version set to 7.
CREATE FUNCTION new_uuid7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                                        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                                        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- A text that was rendered for all, for one of them.
CREATE FUNCTION for_recipient(rendered text, placeholder text, recipient_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN placeholder = '' THEN rendered ELSE replace(rendered, placeholder, recipient_id) END
$$;
