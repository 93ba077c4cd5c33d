-- Accepting in one place for everybody: the server, and callers that share the database
-- (enqueue_notifications). And sending later: docs/adr/0026. Locks: ACCESS EXCLUSIVE on
-- notifications for an instant (nullable columns), SHARE UPDATE EXCLUSIVE on it after that.

-- Not before this, by the app's clock; and when its time had come, by ours. NULL: at once.
ALTER TABLE notifications ADD COLUMN send_at timestamptz, ADD COLUMN released_at timestamptz;

-- Class 0: what is scheduled. Not sliced: no time's slice exists a year ahead. A row leaves
-- it for the class of its type when its time has come; one that was cancelled before stays
-- for a week.
CREATE TABLE notifications_0 (LIKE notifications INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CHECK (retention_days = 0))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE notifications ATTACH PARTITION notifications_0 FOR VALUES IN (0);
CREATE INDEX notifications_0_ended ON notifications_0 (finished_at) WHERE finished_at IS NOT NULL;

-- When a UUIDv7 was made: its first 48 bits.
CREATE FUNCTION uuid_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000::float8)
$$;

-- A UUIDv7 of a moment.
CREATE FUNCTION uuid7_at(moment timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                                        PLACING substring(int8send(floor(extract(epoch FROM moment) * 1000)::bigint) FROM 3)
                                        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Accepts notifications: keys first, in sorted order, so that two batches never wait for
-- each other in a circle; then the notifications of those whose key is new, with their
-- outbox rows, or with a row that waits where due_us says so. Times are microseconds since
-- 1970. Returns the positions, from 1, of those whose key was there.
-- plpgsql, because it keeps the plan: a function in SQL is planned at each call.
CREATE FUNCTION accept_notifications(
  ids uuid[], apps bigint[], created bigint[], expires bigint[], retentions smallint[], lanes text[], types text[],
  recipients text[], actors text[], objects text[], keys text[], hashes bytea[], channel_lists text[], data_texts json[],
  exchanges text[], routing_keys text[], traceparents text[], payloads bytea[], send bigint[], due bigint[])
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH input AS MATERIALIZED (
    SELECT position, notification_id, app_id, to_timestamp(created_us / 1e6::float8) AS created_at,
           to_timestamp(expires_us / 1e6::float8) AS expires_at, retention_days, lane, type, recipient_id, actor_id,
           object_id, idempotency_key, payload_hash, channels::text[], data, exchange, routing_key, traceparent, payload,
           to_timestamp(send_us / 1e6::float8) AS send_at, to_timestamp(due_us / 1e6::float8) AS due_at
    FROM unnest(ids, apps, created, expires, retentions, lanes, types, recipients, actors, objects, keys, hashes,
                channel_lists, data_texts, exchanges, routing_keys, traceparents, payloads, send, due)
         WITH ORDINALITY AS rows (notification_id, app_id, created_us, expires_us, retention_days, lane, type, recipient_id,
                actor_id, object_id, idempotency_key, payload_hash, channels, data, exchange, routing_key, traceparent,
                payload, send_us, due_us, position)
  ), taken AS (
    INSERT INTO idempotency_keys (app_id, idempotency_key, notification_id, payload_hash, created_at, expires_at)
    SELECT app_id, idempotency_key, notification_id, payload_hash, created_at, created_at + interval '24 hours'
    FROM input WHERE idempotency_key IS NOT NULL
    ORDER BY app_id, idempotency_key
    ON CONFLICT DO NOTHING
    RETURNING notification_id
  ), accepted AS MATERIALIZED (
    SELECT * FROM input
    WHERE idempotency_key IS NULL OR notification_id IN (SELECT notification_id FROM taken)
  ), stored AS (
    INSERT INTO notifications (notification_id, app_id, created_at, expires_at, retention_days, lane, state, type,
                               recipient_id, actor_id, object_id, idempotency_key, channels, data, send_at)
    SELECT notification_id, app_id, created_at, expires_at, CASE WHEN due_at IS NULL THEN retention_days ELSE 0 END, lane,
           CASE WHEN due_at IS NULL THEN 'accepted' ELSE 'scheduled' END, type, recipient_id, actor_id, object_id,
           idempotency_key, channels, data, send_at
    FROM accepted
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT notification_id, app_id, lane, exchange, routing_key, type, traceparent, payload
    FROM accepted WHERE due_at IS NULL
  )
  SELECT position FROM input
  WHERE idempotency_key IS NOT NULL AND notification_id NOT IN (SELECT notification_id FROM taken);

  -- Apart: a statement that may write one more table costs each call some 15 us.
  IF cardinality(array_remove(due, NULL)) > 0 THEN
    INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                           exchange, routing_key, type, traceparent, payload)
    SELECT n.app_id, to_timestamp(due_us / 1e6::float8), n.notification_id, n.notification_id, class, n.lane, 'send_time',
           '', n.recipient_id, exchange, routing_key, n.type, traceparent, payload
    FROM unnest(ids, retentions, exchanges, routing_keys, traceparents, payloads, due)
         AS rows (notification_id, class, exchange, routing_key, traceparent, payload, due_us)
    JOIN notifications_0 n ON n.notification_id = rows.notification_id AND n.state = 'scheduled'
    WHERE due_us IS NOT NULL
    ON CONFLICT (message_id) DO NOTHING;
  END IF;
END $$;

-- Moves scheduled notifications whose rows in schedules the caller has picked and locked
-- into the outbox: what is due, each in the class of its type. Its id says when that was, so
-- its slice is today's, unless it is late or of a sandbox (whose ids say when it was
-- accepted). Then the slice is made if need be, and the notification watched, as the sweep
-- may have passed its id. Returns how many it moved; one that was erased only goes.
CREATE FUNCTION release_scheduled(schedule_ids uuid[]) RETURNS int
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  missing timestamptz;
  may_be_old boolean;
  released int;
BEGIN
  -- A slice past its retention may be dropped at any moment, by whoever holds this lock: what
  -- belongs into one waits for the next call.
  may_be_old := NOT EXISTS (
      SELECT FROM schedules
      WHERE schedule_id = ANY (schedule_ids) AND uuid_time(message_id) <= now() - make_interval(days => retention_days))
    OR pg_try_advisory_xact_lock_shared(7205410634);
  FOR missing IN
    SELECT day
    FROM (SELECT DISTINCT retention_days, date_trunc('day', uuid_time(message_id), 'UTC') AS day
          FROM schedules WHERE schedule_id = ANY (schedule_ids) AND cause = 'send_time') AS due
    WHERE (SELECT count(*) FROM slices
           WHERE retention_days = due.retention_days AND starts_at <= day AND ends_at > day) < 3
  LOOP
    PERFORM ensure_slices(missing, missing);
  END LOOP;

  WITH due AS MATERIALIZED (
    DELETE FROM schedules
    WHERE schedule_id = ANY (schedule_ids) AND cause = 'send_time'
      AND (may_be_old OR uuid_time(message_id) > now() - make_interval(days => retention_days))
    RETURNING *
  ), taken AS MATERIALIZED (
    -- Not an UPDATE: whoever comes upon a row that one has moved to another partition fails.
    DELETE FROM notifications_0 n USING due
    WHERE n.notification_id = due.message_id AND n.state = 'scheduled'
    RETURNING n.*, due.retention_days AS class
  ), stored AS (
    INSERT INTO notifications (notification_id, app_id, created_at, expires_at, retention_days, lane, type, recipient_id,
                               actor_id, object_id, idempotency_key, channels, data, send_at, released_at)
    SELECT notification_id, app_id, created_at, expires_at, class, lane, type, recipient_id, actor_id, object_id,
           idempotency_key, channels, data, send_at, clock_timestamp()
    FROM taken
  ), watched AS (
    INSERT INTO stragglers (notification_id, retention_days, lane, due_at)
    SELECT notification_id, class, lane, now() FROM taken
    WHERE uuid_time(notification_id) NOT BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'
    ON CONFLICT DO NOTHING
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
  SELECT message_id, app_id, lane, exchange, routing_key, type, traceparent, payload
  FROM due WHERE message_id IN (SELECT notification_id FROM taken)
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS released = ROW_COUNT;
  RETURN released;
END $$;

-- --- Enqueueing in the caller's own transaction (docs/enqueue.md). What follows says and does
-- what server/api/send_request.cc does for SendNotification.

-- Of a protobuf message: a number, and fields, which are left out where they are empty. In
-- plpgsql as most here: it keeps plans, where a function in SQL is planned for each statement.
CREATE FUNCTION pb_varint(value bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  encoded bytea := '';
BEGIN
  WHILE value > 127 LOOP
    encoded := encoded || set_byte('\x00', 0, (value & 127 | 128)::int);
    value := value >> 7;
  END LOOP;
  RETURN encoded || set_byte('\x00', 0, value::int);
END $$;

CREATE FUNCTION pb_number(field int, value bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN CASE WHEN coalesce(value, 0) = 0 THEN ''::bytea ELSE pb_varint(field * 8) || pb_varint(value) END;
END $$;

CREATE FUNCTION pb_bytes(field int, value bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN CASE WHEN coalesce(length(value), 0) = 0 THEN ''::bytea
              ELSE pb_varint(field * 8 + 2) || pb_varint(length(value)) || value END;
END $$;

CREATE FUNCTION pb_text(field int, value text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN pb_bytes(field, convert_to(value, 'UTF8'));
END $$;

-- A channel's number in carillon.v1.Channel, by the name of its value or by our word for it.
CREATE FUNCTION channel_number(channel text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_position('{in_app,email,sms,apns,fcm,webhook}'::text[],
                        CASE WHEN starts_with(channel, 'CHANNEL_') THEN lower(substr(channel, 9)) ELSE channel END)
$$;

-- Ends the call for what the caller gave.
CREATE FUNCTION refuse_field(field text, allowed text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = field || ': ' || allowed;
END $$;

-- A JSON string as StructToJson writes it.
CREATE FUNCTION canonical_text(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  value := replace(replace(value, '\', '\\'), '"', '\"');
  IF value ~ '[\x01-\x1f]' THEN
    FOR code IN 1..31 LOOP
      value := replace(value, chr(code), '\u' || lpad(to_hex(code), 4, '0'));
    END LOOP;
  END IF;
  RETURN '"' || value || '"';
END $$;

-- A number as std::to_chars writes the double that it is: the fewest digits that read
-- back to it, without an exponent unless that is shorter; whole ones exactly.
CREATE FUNCTION canonical_number(value float8) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  parts text[] := regexp_match(abs(value)::text, '^([0-9]+)(?:\.([0-9]+))?(?:e([+-][0-9]+))?$');
  digits text := ltrim(parts[1] || coalesce(parts[2], ''), '0');
  -- Of the last digit.
  exponent int := coalesce(parts[3]::int, 0) - coalesce(length(parts[2]), 0);
  shorter numeric;
  shown text;
  high float8;
BEGIN
  IF value = 0 THEN
    RETURN '0';
  END IF;
  -- Half way between two doubles PostgreSQL takes no digits, to_chars does if they read back.
  IF abs(value) >= 9007199254740992 THEN
    shorter := round(abs(value)::text::numeric, -exponent - 1);
    IF shorter <= 1.7976931348623157e308 AND shorter::float8 = abs(value) THEN
      digits := shorter::text;
      exponent := 0;
    END IF;
  END IF;
  exponent := exponent + length(digits) - length(rtrim(digits, '0'));
  digits := rtrim(digits, '0');
  IF exponent > 5 - (length(digits) = 1)::int OR exponent < (length(digits) = 1)::int - length(digits) - 3 THEN
    exponent := exponent + length(digits) - 1;
    shown := left(digits, 1) || CASE WHEN length(digits) > 1 THEN '.' || substr(digits, 2) ELSE '' END
             || CASE WHEN exponent < 0 THEN 'e-' ELSE 'e+' END
             || lpad(abs(exponent)::text, greatest(2, length(abs(exponent)::text)), '0');
  ELSIF exponent >= 0 THEN
    -- In two parts that are exact: a numeric takes 15 digits of a double.
    high := floor(abs(value) / 4294967296);
    shown := (high::bigint::numeric * 4294967296 + (abs(value) - high * 4294967296)::bigint)::text;
  ELSIF exponent > -length(digits) THEN
    shown := left(digits, exponent) || '.' || right(digits, -exponent);
  ELSE
    shown := '0.' || repeat('0', -exponent - length(digits)) || digits;
  END IF;
  RETURN CASE WHEN value < 0 THEN '-' ELSE '' END || shown;
END $$;

-- data as StructToJson writes it: the one text of equal objects.
CREATE FUNCTION canonical_json(value jsonb, field text, depth int) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF jsonb_typeof(value) IN ('object', 'array') AND depth > 16 THEN
    PERFORM refuse_field(field, 'must be at most 16 levels deep');
  END IF;
  CASE jsonb_typeof(value)
    WHEN 'object' THEN
      RETURN (SELECT '{' || coalesce(string_agg(canonical_text(key) || ':' || canonical_json(part, field, depth + 1), ','
                                                ORDER BY key COLLATE "C"), '') || '}'
              FROM jsonb_each(value) AS members (key, part));
    WHEN 'array' THEN
      RETURN (SELECT '[' || coalesce(string_agg(canonical_json(part, field, depth + 1), ',' ORDER BY place), '') || ']'
              FROM jsonb_array_elements(value) WITH ORDINALITY AS elements (part, place));
    WHEN 'string' THEN
      RETURN canonical_text(value #>> '{}');
    WHEN 'number' THEN
      -- What no double holds, and what is nearer to 0 than any.
      IF abs(value::numeric) > 1.7976931348623157e308 THEN
        PERFORM refuse_field(field, 'must not contain NaN or infinite numbers');
      END IF;
      RETURN CASE WHEN abs(value::numeric) <= 2.4703282292062327e-324 THEN '0' ELSE canonical_number(value::float8) END;
    ELSE
      RETURN value::text;
  END CASE;
END $$;

-- A text field of a request; NULL if it is absent or empty.
CREATE FUNCTION request_text(request jsonb, place text, field text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF coalesce(jsonb_typeof(request -> field), 'null') NOT IN ('null', 'string') THEN
    PERFORM refuse_field(place || field, 'must be a string');
  END IF;
  RETURN nullif(request ->> field, '');
END $$;

-- An id or a key.
CREATE FUNCTION request_id(request jsonb, place text, field text, required boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  value text := request_text(request, place, field);
BEGIN
  IF value IS NULL AND required OR octet_length(value) > 255 OR value ~ '[\x01-\x1f\x7f]' THEN
    PERFORM refuse_field(place || field, format('must be %s to 255 bytes of UTF-8 without control characters', required::int));
  END IF;
  RETURN value;
END $$;

-- Numbers of channels, in the order asked.
CREATE FUNCTION request_channels(request jsonb, place text) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  asked jsonb := request -> 'channels';
  numbers int[] := '{}';
  number int;
BEGIN
  IF coalesce(jsonb_typeof(asked), 'null') = 'null' THEN
    RETURN numbers;
  END IF;
  IF jsonb_typeof(asked) <> 'array' OR jsonb_array_length(asked) > 6 THEN
    PERFORM refuse_field(place || 'channels', 'must be at most 6, each once');
  END IF;
  FOR i IN 0..jsonb_array_length(asked) - 1 LOOP
    number := channel_number(asked ->> i);
    IF number IS NULL THEN
      PERFORM refuse_field(format('%schannels[%s]', place, i), 'must be a channel: CHANNEL_IN_APP, CHANNEL_EMAIL, ...');
    ELSIF number = ANY (numbers) THEN
      PERFORM refuse_field(format('%schannels[%s]', place, i), 'must name each channel once');
    END IF;
    numbers := numbers || number;
  END LOOP;
  RETURN numbers;
END $$;

-- Seconds and nanoseconds of a duration as protobuf writes it in JSON; NULL if it is absent.
CREATE FUNCTION request_ttl(request jsonb, place text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  parts text[];
  ttl bigint[];
BEGIN
  IF coalesce(jsonb_typeof(request -> 'ttl'), 'null') = 'null' THEN
    RETURN NULL;
  END IF;
  parts := regexp_match(request ->> 'ttl', '^(-?[0-9]{1,9})(?:\.([0-9]{1,9}))?s$');
  IF parts IS NULL OR jsonb_typeof(request -> 'ttl') <> 'string' THEN
    PERFORM refuse_field(place || 'ttl', 'must be a duration such as "600s"');
  END IF;
  ttl := ARRAY[parts[1]::bigint, rpad(coalesce(parts[2], ''), 9, '0')::bigint];
  IF ttl[1] < 1 OR ttl[1] * 1000000000 + ttl[2] > 31536000000000000 THEN
    PERFORM refuse_field(place || 'ttl', 'must be 1 s to 365 days');
  END IF;
  RETURN ttl;
END $$;

-- Seconds since 1970 and nanoseconds of a time as protobuf writes it in JSON; NULL if it is absent.
CREATE FUNCTION request_send_time(request jsonb, place text, now_us bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
  parts text[];
  send bigint[];
BEGIN
  IF coalesce(jsonb_typeof(request -> 'send_time'), 'null') = 'null' THEN
    RETURN NULL;
  END IF;
  parts := regexp_match(request ->> 'send_time',
                        '^((?!0000)\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$');
  IF parts IS NOT NULL AND jsonb_typeof(request -> 'send_time') = 'string' THEN
    BEGIN
      send := ARRAY[extract(epoch FROM (parts[1] || parts[3])::timestamptz)::bigint,
                    rpad(coalesce(parts[2], ''), 9, '0')::bigint];
    EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
      NULL;
    END;
  END IF;
  IF send IS NULL THEN
    PERFORM refuse_field(place || 'send_time', 'must be a time such as "2026-12-31T18:00:00Z"');
  ELSIF send[1] * 1000000 + send[2] / 1000 > now_us + 31536000000000 THEN
    PERFORM refuse_field(place || 'send_time', 'must be at most 365 days ahead');
  END IF;
  RETURN send;
END $$;

-- data of a request in its one text; NULL if there is none.
CREATE FUNCTION request_data(request jsonb, place text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  data jsonb := request -> 'data';
  written text;
BEGIN
  IF coalesce(jsonb_typeof(data), 'null') = 'null' OR data = '{}' THEN
    RETURN NULL;
  END IF;
  IF jsonb_typeof(data) <> 'object' THEN
    PERFORM refuse_field(place || 'data', 'must be an object');
  END IF;
  -- What is far too large is not written at all. jsonb writes numbers at length: 1e300.
  IF octet_length(data::text) <= 1048576 THEN
    written := canonical_json(data, place || 'data', 1);
  END IF;
  IF written IS NULL OR octet_length(written) > 16384 THEN
    PERFORM refuse_field(place || 'data', 'must be at most 16384 bytes as JSON');
  END IF;
  RETURN written;
END $$;

-- A part with its length before it, so that no two lists of parts look alike.
CREATE FUNCTION hash_part(part text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT octet_length(coalesce(part, '')) || ':' || coalesce(part, '')
$$;

-- A request that has been checked, as accept_notifications takes it.
CREATE TYPE prepared_request AS (
  id uuid, created_us bigint, expires_us bigint, send_us bigint, due_us bigint, retention_days smallint, lane text,
  type text, recipient_id text, actor_id text, object_id text, idempotency_key text, payload_hash bytea, channels text[],
  data text, exchange text, routing_key text, payload bytea);

-- The body of the broker's message: carillon.internal.v1.Envelope.
CREATE FUNCTION notification_envelope(app_id bigint, item prepared_request) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  channel text;
  channels bytea := '';
BEGIN
  FOREACH channel IN ARRAY item.channels LOOP
    channels := channels || pb_varint(channel_number(channel));
  END LOOP;
  RETURN pb_number(1, app_id) || pb_text(2, item.type)
         || pb_bytes(3, pb_bytes(1, uuid_send(item.id)) || pb_text(2, item.recipient_id) || pb_text(3, item.actor_id)
                        || pb_text(4, item.object_id) || pb_text(5, item.data)
                        || pb_number(6, coalesce(item.send_us, item.created_us)) || pb_number(7, item.expires_us)
                        || pb_number(8, item.retention_days) || pb_bytes(9, channels));
END $$;

CREATE FUNCTION prepare_request(request jsonb, place text, app apps, now_us bigint) RETURNS prepared_request
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  -- Of this schema, whatever the session looks in when it first calls this.
  item carillon.prepared_request;
  kind carillon.types;
  unknown text;
  asked int[];
  ttl bigint[];
  send bigint[];
  -- By the app's clock.
  start_us bigint := now_us + app.clock_offset;
BEGIN
  IF jsonb_typeof(request) <> 'object' THEN
    PERFORM refuse_field(rtrim(place, '.'), 'must be an object');
  END IF;
  SELECT key INTO unknown FROM jsonb_object_keys(request) AS key
  WHERE key <> ALL ('{type,user_id,actor_id,object_id,data,channels,idempotency_key,send_time,ttl}') LIMIT 1;
  IF FOUND THEN
    PERFORM refuse_field(place || left(unknown, 100), 'is no field of a request');
  END IF;
  item.type := request_text(request, place, 'type');
  IF item.type IS NULL OR item.type !~ '^[a-z][a-z0-9._-]{0,99}$' THEN
    PERFORM refuse_field(place || 'type',
                         'must be 1 to 100 characters of a-z, 0-9, ''.'', ''_'' and ''-'', beginning with a letter');
  END IF;
  SELECT * INTO kind FROM types t
  WHERE t.name = item.type AND t.app_id IN (app.app_id, 0) ORDER BY t.app_id DESC LIMIT 1;
  IF NOT FOUND THEN
    PERFORM refuse_field(place || 'type', format('no type "%s" in the catalogue', item.type));
  END IF;
  item.recipient_id := request_id(request, place, 'user_id', true);
  item.actor_id := request_id(request, place, 'actor_id', false);
  item.object_id := request_id(request, place, 'object_id', false);
  item.idempotency_key := request_id(request, place, 'idempotency_key', false);
  send := request_send_time(request, place, start_us);
  asked := request_channels(request, place);
  item.data := request_data(request, place);
  ttl := request_ttl(request, place);

  item.lane := kind.lane;
  item.exchange := kind.exchange;
  item.routing_key := kind.routing_key;
  item.retention_days := kind.retention_days;
  item.channels := CASE WHEN asked = '{}' THEN kind.channels
                        ELSE ARRAY(SELECT ('{in_app,email,sms,apns,fcm,webhook}'::text[])[number]
                                   FROM unnest(asked) WITH ORDINALITY AS a (number, place) ORDER BY a.place) END;
  item.created_us := start_us;
  IF send[1] * 1000000 + send[2] / 1000 > start_us THEN
    item.send_us := send[1] * 1000000 + send[2] / 1000;
    item.due_us := item.send_us - app.clock_offset;
  END IF;
  item.expires_us := coalesce(item.send_us, start_us)
                     + coalesce(ttl[1] * 1000000 + ttl[2] / 1000, (extract(epoch FROM kind.ttl) * 1000000)::bigint);
  -- As docs/adr/0026 has it.
  item.id := uuid7_at(to_timestamp(CASE WHEN app.sandbox THEN now_us ELSE coalesce(item.due_us, now_us) END / 1e6::float8));
  IF item.idempotency_key IS NOT NULL THEN
    item.payload_hash := sha256(convert_to(
        hash_part(item.type) || hash_part(item.recipient_id) || hash_part(item.actor_id) || hash_part(item.object_id)
        || hash_part(item.data)
        || coalesce((SELECT string_agg(hash_part('channel' || number), '' ORDER BY number) FROM unnest(asked) AS number), '')
        || CASE WHEN ttl IS NULL THEN '' ELSE hash_part(format('ttl%s.%s', ttl[1], ttl[2])) END
        || CASE WHEN send IS NULL THEN '' ELSE hash_part(format('send_time%s.%s', send[1], send[2])) END, 'UTF8'));
  END IF;
  item.payload := notification_envelope(app.app_id, item);
  RETURN item;
END $$;

-- Positions, from 1, of those whose key was there.
CREATE FUNCTION accept_prepared(app_id bigint, items prepared_request[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT taken FROM (
    SELECT array_agg(id ORDER BY n) AS ids, array_agg(accept_prepared.app_id ORDER BY n) AS apps,
           array_agg(created_us ORDER BY n) AS created, array_agg(expires_us ORDER BY n) AS expires,
           array_agg(retention_days ORDER BY n) AS retentions, array_agg(lane ORDER BY n) AS lanes,
           array_agg(type ORDER BY n) AS types, array_agg(recipient_id ORDER BY n) AS recipients,
           array_agg(actor_id ORDER BY n) AS actors, array_agg(object_id ORDER BY n) AS objects,
           array_agg(idempotency_key ORDER BY n) AS keys, array_agg(payload_hash ORDER BY n) AS hashes,
           array_agg(channels::text ORDER BY n) AS channel_lists, array_agg(data::json ORDER BY n) AS data_texts,
           array_agg(exchange ORDER BY n) AS exchanges, array_agg(routing_key ORDER BY n) AS routing_keys,
           array_agg(NULL::text ORDER BY n) AS traceparents, array_agg(payload ORDER BY n) AS payloads,
           array_agg(send_us ORDER BY n) AS send, array_agg(due_us ORDER BY n) AS due
    FROM unnest(items) WITH ORDINALITY AS item (id, created_us, expires_us, send_us, due_us, retention_days, lane, type,
           recipient_id, actor_id, object_id, idempotency_key, payload_hash, channels, data, exchange, routing_key, payload, n)
  ) AS columns, LATERAL accept_notifications(ids, apps, created, expires, retentions, lanes, types, recipients, actors,
      objects, keys, hashes, channel_lists, data_texts, exchanges, routing_keys, traceparents, payloads, send, due) AS taken;
END $$;

-- Accepts notifications of the app with this key in the caller's transaction: what
-- BatchSendNotifications does, with the fields of SendNotificationRequest as JSON. All are
-- accepted or none; the first fault is raised as 22023. Positions count from 0.
CREATE FUNCTION enqueue_notifications(app_key text, requests jsonb)
RETURNS TABLE ("position" int, notification_id uuid, duplicate boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = carillon, pg_temp
SET standard_conforming_strings = on SET timezone = 'UTC' SET extra_float_digits = 1
SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
  app carillon.apps;
  now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
  items carillon.prepared_request[];
  -- By position in items; what is to be accepted is empty.
  first_ids uuid[];
  waiting int[];
  taken int[];
  known record;
  place int;
BEGIN
  SELECT * INTO app FROM apps a WHERE a.app_key = enqueue_notifications.app_key AND 'send' = ANY (a.scopes);
  IF NOT FOUND THEN
    PERFORM refuse_field('app_key', 'must be the key of an app with the scope send');
  END IF;
  IF coalesce(jsonb_typeof(requests), 'null') <> 'array' OR jsonb_array_length(requests) NOT BETWEEN 1 AND 1000 THEN
    PERFORM refuse_field('requests', 'must be 1 to 1000');
  END IF;
  SELECT array_agg(prepare_request(request, format('requests[%s].', n - 1), app, now_us) ORDER BY n)
  INTO items FROM jsonb_array_elements(requests) WITH ORDINALITY AS r (request, n);
  SELECT n INTO place
  FROM (SELECT n, row_number() OVER (PARTITION BY i.idempotency_key ORDER BY n) AS nth
        FROM generate_subscripts(items, 1) AS n, LATERAL (SELECT items[n].idempotency_key) AS i
        WHERE i.idempotency_key IS NOT NULL) AS numbered
  WHERE nth = 2 ORDER BY n LIMIT 1;
  IF FOUND THEN
    PERFORM refuse_field(format('requests[%s].idempotency_key', place - 1), 'must differ from those of the other requests');
  END IF;

  first_ids := array_fill(NULL::uuid, ARRAY[cardinality(items)]);
  waiting := ARRAY(SELECT generate_subscripts(items, 1));
  -- Keys that have expired are forgotten and taken anew; the rounds bound a race with others.
  FOR round IN 1..3 LOOP
    taken := ARRAY(SELECT waiting[n] FROM accept_prepared(app.app_id, ARRAY(SELECT items[w] FROM unnest(waiting) AS w)) AS n);
    waiting := '{}';
    FOREACH place IN ARRAY taken LOOP
      SELECT k.notification_id, k.payload_hash INTO known FROM idempotency_keys k
      WHERE k.app_id = app.app_id AND k.idempotency_key = items[place].idempotency_key AND k.expires_at > clock_timestamp();
      IF NOT FOUND THEN
        DELETE FROM idempotency_keys k
        WHERE k.app_id = app.app_id AND k.idempotency_key = items[place].idempotency_key AND k.expires_at <= clock_timestamp();
        waiting := waiting || place;
      ELSIF known.payload_hash <> items[place].payload_hash THEN
        PERFORM refuse_field(format('requests[%s].idempotency_key', place - 1), 'was used within 24 h for another payload');
      ELSE
        first_ids[place] := known.notification_id;
      END IF;
    END LOOP;
    EXIT WHEN waiting = '{}';
  END LOOP;
  IF waiting <> '{}' THEN
    RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'an idempotency key is being replaced: try again';
  END IF;
  -- Nobody knows when the caller commits: the sweep may have passed these ids by then.
  INSERT INTO stragglers (notification_id, retention_days, lane, due_at)
  SELECT items[n].id, items[n].retention_days, items[n].lane, clock_timestamp() + interval '5 minutes'
  FROM generate_subscripts(items, 1) AS n WHERE first_ids[n] IS NULL AND items[n].due_us IS NULL;
  RETURN QUERY SELECT n - 1, coalesce(first_ids[n], items[n].id), first_ids[n] IS NOT NULL
               FROM generate_subscripts(items, 1) AS n ORDER BY n;
END $$;
-- What it calls is for nobody else: it runs with its owner's rights.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA carillon FROM PUBLIC;
