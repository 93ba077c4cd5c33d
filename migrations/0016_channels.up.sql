-- External channels: who is reached where, by which providers, with which words,
-- and what became of it. New tables, and nullable or constant-default columns: no
-- rewrite. ensure_slices is replaced; it makes the slices of deliveries too.

-- The language of recipients who have none, where no template is in theirs.
ALTER TABLE apps ADD COLUMN default_locale text NOT NULL DEFAULT 'en';

ALTER TABLE types
  ADD COLUMN track_interactions boolean NOT NULL DEFAULT false,
  ADD COLUMN unsubscribable boolean NOT NULL DEFAULT false,
  ADD COLUMN at_most_once boolean NOT NULL DEFAULT false;
UPDATE types SET track_interactions = true, unsubscribable = true WHERE app_id = 0 AND lane = 'marketing';
UPDATE catalogue_version SET version = version + 1;

-- How a person is reached.
CREATE TABLE recipients (
  app_id       bigint NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  recipient_id text COLLATE "C" NOT NULL,
  email        text CHECK (length(email) BETWEEN 3 AND 254),
  phone        text CHECK (phone ~ '^\+[1-9][0-9]{4,14}$'),
  locale       text,
  time_zone    text,
  PRIMARY KEY (app_id, recipient_id)
);

-- device_id is made from channel and token; a token belongs to whoever registered it last.
CREATE TABLE devices (
  app_id        bigint NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  recipient_id  text COLLATE "C" NOT NULL,
  channel       text NOT NULL CHECK (channel IN ('apns', 'fcm')),
  device_id     text COLLATE "C" NOT NULL,
  token         text NOT NULL,
  PRIMARY KEY (app_id, recipient_id, channel, device_id)
);
CREATE UNIQUE INDEX devices_by_id ON devices (app_id, channel, device_id);

-- What is said on a channel. app_id 0: shipped. One version is active.
CREATE TABLE templates (
  app_id     bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  version    int NOT NULL CHECK (version > 0),
  active     boolean NOT NULL,
  type       text COLLATE "C" NOT NULL,
  channel    text COLLATE "C" NOT NULL CHECK (channel IN ('email', 'sms', 'apns', 'fcm', 'webhook')),
  locale     text COLLATE "C" NOT NULL,
  -- A carillon.v1.Template, without what is in the other columns.
  content    bytea NOT NULL,
  PRIMARY KEY (app_id, type, channel, locale, version)
);
CREATE UNIQUE INDEX templates_active ON templates (app_id, type, channel, locale) WHERE active;

-- The providers of an app's channel, in the order in which they are asked.
CREATE TABLE providers (
  app_id     bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  position   smallint NOT NULL,
  channel    text NOT NULL CHECK (channel IN ('email', 'sms', 'apns', 'fcm', 'webhook')),
  name       text NOT NULL,
  -- A carillon.v1.Provider, sealed with the master key: it holds secrets.
  sealed     bytea NOT NULL,
  PRIMARY KEY (app_id, channel, name)
);

-- What a lane's workers think of a provider: written when that changes.
CREATE TABLE provider_health (
  app_id        bigint NOT NULL,
  since         timestamptz NOT NULL DEFAULT clock_timestamp(),
  retry_at      timestamptz,
  lane          text NOT NULL,
  channel       text NOT NULL,
  name          text NOT NULL,
  breaker       text NOT NULL CHECK (breaker IN ('closed', 'open', 'half_open')),
  misconfigured boolean NOT NULL DEFAULT false,
  error         text,
  PRIMARY KEY (app_id, channel, name, lane)
);

-- Bearer tokens that all workers share: APNs refuses keys that make new ones too often.
CREATE TABLE provider_tokens (
  app_id     bigint NOT NULL,
  minted_at  timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- What it was made with; another key has other tokens.
  token_key  text NOT NULL,
  sealed     bytea NOT NULL,
  PRIMARY KEY (app_id, token_key)
);

-- Addresses that nothing is sent to. The hash stays when the person is erased.
CREATE TABLE suppressions (
  app_id       bigint NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  channel      text NOT NULL CHECK (channel IN ('email', 'sms')),
  -- SHA-256 of the address as it is compared.
  address_hash bytea NOT NULL CHECK (length(address_hash) = 32),
  -- Only notifications of this type; empty: all.
  type         text NOT NULL,
  reason       text NOT NULL,
  address      text,
  PRIMARY KEY (app_id, channel, address_hash, type)
);

-- A notification that goes to external channels has ended when all its deliveries
-- have. NULL: not decided yet.
ALTER TABLE notifications
  ADD COLUMN open_deliveries smallint,
  -- The best end of a channel so far: what the state becomes when the last one ends.
  ADD COLUMN outcome text;
-- What is there has none: nothing needs to be read.
ALTER TABLE notifications ADD CONSTRAINT notifications_outcome_check
  CHECK (outcome IN ('delivered', 'suppressed', 'expired', 'dead')) NOT VALID;

-- One notification on one external channel, or on one device of it. Sliced as its
-- notification, by whose id it is found. The payload is what is published for it:
-- kept until it has ended, so that it can be queued again at any time.
CREATE TABLE deliveries (
  notification_id uuid NOT NULL,
  delivery_id     uuid NOT NULL,
  app_id          bigint NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  touched_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at     timestamptz,
  claimed_until   timestamptz,
  -- Counts claims: only the newest may record an outcome.
  claim           int NOT NULL DEFAULT 0,
  retention_days  smallint NOT NULL,
  -- The claim before the newest ended without an outcome.
  interrupted     boolean NOT NULL DEFAULT false,
  lane            text NOT NULL CHECK (lane IN ('payment', 'otp', 'social', 'marketing')),
  channel         text NOT NULL CHECK (channel IN ('email', 'sms', 'apns', 'fcm', 'webhook')),
  state           text NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'held', 'sent', 'delivered', 'undelivered', 'suppressed', 'expired', 'dead')),
  type            text NOT NULL,
  recipient_id    text COLLATE "C" NOT NULL,
  device_id       text,
  provider        text,
  provider_message_id text,
  detail          text,
  -- Calls, oldest first, the newest 20: [{"provider", "time_us", "outcome", "code", "error", "latency_ms", "message_id"}].
  attempts        jsonb,
  payload         bytea,
  PRIMARY KEY (notification_id, delivery_id, retention_days),
  CHECK ((finished_at IS NULL) = (state IN ('pending', 'held')))
) PARTITION BY LIST (retention_days);

CREATE INDEX deliveries_by_recipient ON deliveries (app_id, recipient_id, notification_id);
CREATE INDEX deliveries_by_provider_id ON deliveries (app_id, provider_message_id) WHERE provider_message_id IS NOT NULL;
-- What no queue may hold any more is looked for among these.
CREATE INDEX deliveries_pending ON deliveries (lane, channel, delivery_id) WHERE state = 'pending';

CREATE TABLE deliveries_1 PARTITION OF deliveries FOR VALUES IN (1) PARTITION BY RANGE (notification_id);
CREATE TABLE deliveries_7 PARTITION OF deliveries FOR VALUES IN (7) PARTITION BY RANGE (notification_id);
CREATE TABLE deliveries_30 PARTITION OF deliveries FOR VALUES IN (30) PARTITION BY RANGE (notification_id);
CREATE TABLE deliveries_365 PARTITION OF deliveries FOR VALUES IN (365) PARTITION BY RANGE (notification_id);

CREATE OR REPLACE FUNCTION slice_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'autovacuum_vacuum_insert_scale_factor = 0.05, fillfactor = '
         || CASE parent WHEN 'feed_items' THEN 100 ELSE 50 END
$$;

CREATE OR REPLACE FUNCTION ensure_slices(from_time timestamptz, until_time timestamptz) RETURNS int
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  class record;
  slice_start timestamptz;
  slice_end timestamptz;
  child text;
  made int := 0;
BEGIN
  -- One maker at a time: two relays may ask at once.
  PERFORM pg_advisory_xact_lock(hashtext('carillon.ensure_slices'));
  FOR class IN
    SELECT parent, days, slice_length(days) AS length
    FROM unnest(ARRAY['notifications', 'feed_items', 'deliveries']) AS parent, unnest(ARRAY[1, 7, 30, 365]) AS days
  LOOP
    slice_start := date_bin(class.length, from_time, timestamptz '2020-01-01 00:00:00+00');
    WHILE slice_start <= until_time LOOP
      slice_end := slice_start + class.length;
      child := format('%s_%s_%s', class.parent, class.days, to_char(slice_start AT TIME ZONE 'UTC', 'YYYYMMDD'));
      IF NOT EXISTS (SELECT FROM slices WHERE slice_name = child) THEN
        -- Made beside the tree and attached, which blocks no reader and no writer of it.
        EXECUTE format('CREATE TABLE carillon.%I (LIKE carillon.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, class.parent || '_' || class.days);
        EXECUTE format('ALTER TABLE carillon.%I SET (%s)', child, slice_settings(class.parent));
        EXECUTE format('ALTER TABLE carillon.%I ATTACH PARTITION carillon.%I FOR VALUES FROM (%L) TO (%L)',
                       class.parent || '_' || class.days, child, uuid_floor(slice_start), uuid_floor(slice_end));
        INSERT INTO slices VALUES (class.parent, class.days, child, slice_start, slice_end);
        made := made + 1;
      END IF;
      slice_start := slice_end;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- Notifications that exist already have slices from long ago: those of deliveries
-- have to reach as far back.
SELECT ensure_slices(min(starts_at), now() + interval '3 days') FROM slices HAVING count(*) > 0;

-- Whole messages that wait for a moment, or for a provider to be back. Released
-- into the outbox.
CREATE TABLE schedules (
  schedule_id     uuid PRIMARY KEY DEFAULT new_uuid7(),
  app_id          bigint NOT NULL,
  due_at          timestamptz NOT NULL,
  held_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  notification_id uuid NOT NULL,
  -- The outbox row that it becomes.
  message_id      uuid NOT NULL,
  retention_days  smallint NOT NULL,
  lane            text NOT NULL,
  -- What it waits for: 'provider' may be released before it is due.
  cause           text NOT NULL CHECK (cause IN ('provider', 'receipt', 'busy')),
  channel         text NOT NULL,
  recipient_id    text COLLATE "C" NOT NULL,
  exchange        text NOT NULL,
  routing_key     text NOT NULL,
  type            text NOT NULL,
  traceparent     text,
  payload         bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX schedules_by_due ON schedules (lane, due_at);
CREATE INDEX schedules_by_provider ON schedules (app_id, channel, lane, held_at) WHERE cause = 'provider';
CREATE INDEX schedules_by_recipient ON schedules (app_id, recipient_id);
-- One wait at a time.
CREATE UNIQUE INDEX schedules_once ON schedules (message_id);

-- What recipients did: each kind once per notification and channel. Kept 400 days.
CREATE TABLE interactions (
  app_id          bigint NOT NULL,
  notification_id uuid NOT NULL,
  occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  channel         text NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('opened', 'clicked')),
  recipient_id    text COLLATE "C" NOT NULL,
  type            text NOT NULL,
  PRIMARY KEY (app_id, notification_id, channel, kind)
);
CREATE INDEX interactions_by_recipient ON interactions (app_id, recipient_id);
CREATE INDEX interactions_by_time ON interactions (occurred_at);

-- Counts by day. Several rows (part) count the same, so that writers don't wait for
-- each other; readers add them up.
CREATE TABLE daily_stats (
  app_id  bigint NOT NULL,
  count   bigint NOT NULL,
  day     date NOT NULL,
  part    smallint NOT NULL,
  type    text NOT NULL,
  channel text NOT NULL,
  kind    text NOT NULL,
  PRIMARY KEY (app_id, day, type, channel, kind, part)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- That somebody was erased, and when; not who.
CREATE TABLE tombstones (
  app_id         bigint NOT NULL,
  erased_at      timestamptz NOT NULL DEFAULT now(),
  recipient_hash bytea NOT NULL CHECK (length(recipient_hash) = 32),
  -- Where an erasing that was interrupted goes on; NULL: it was not.
  position       text,
  PRIMARY KEY (app_id, recipient_hash)
);

-- A text without somebody's name, wherever it stands as a word of its own. Letters
-- beyond ASCII end a word: rather a word too much is lost than a name kept.
CREATE FUNCTION without_name(said text, name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN name <> '' AND position(name IN said) > 0
              THEN regexp_replace(said, '(^|[^0-9A-Za-z])' || regexp_replace(name, '([][\\^$.|?*+(){}])', '\\\1', 'g') || '(?![0-9A-Za-z])',
                                  '\1Someone', 'g')
              ELSE said END
$$;

-- What carillon.events carries: a JSON object in UTF-8. Fields that nothing is known
-- for are left out. The time is that of the change.
CREATE FUNCTION delivery_event(event text, app_id bigint, notification_id uuid, delivery_id uuid, recipient_id text,
                               type text, channel text, provider text, provider_message_id text, code text)
RETURNS bytea LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT convert_to(json_strip_nulls(json_build_object(
    'event', event, 'app_id', app_id, 'notification_id', notification_id, 'delivery_id', delivery_id,
    'user_id', recipient_id, 'type', type, 'channel', channel,
    'time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    'provider', nullif(provider, ''), 'provider_message_id', nullif(provider_message_id, ''),
    'code', nullif(code, '')))::text, 'UTF8')
$$;

-- Of two ends of a notification's channels the one that counts.
CREATE FUNCTION better_outcome(a text, b text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN 'delivered' IN (a, b) THEN 'delivered' WHEN 'dead' IN (a, b) THEN 'dead'
              WHEN 'expired' IN (a, b) THEN 'expired' ELSE coalesce(a, b) END
$$;

CREATE FUNCTION outcome_of_rank(rank int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (ARRAY['delivered', 'dead', 'expired', 'suppressed'])[rank]
$$;

-- The attempts of a delivery with further ones, the newest 20.
CREATE FUNCTION newest_attempts(before jsonb, further jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN further IS NULL THEN before
              WHEN before IS NULL THEN further
              WHEN jsonb_array_length(before || further) <= 20 THEN before || further
              ELSE (SELECT jsonb_agg(attempt ORDER BY place)
                    FROM jsonb_array_elements(before || further) WITH ORDINALITY AS one (attempt, place)
                    WHERE place > jsonb_array_length(before || further) - 20) END
$$;
