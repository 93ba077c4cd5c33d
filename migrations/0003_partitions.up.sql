-- Time partitions of notifications and feed items. Both are list-partitioned by
-- retention class (days) and below that range-partitioned by the UUIDv7 id,
-- which begins with its time: a lookup by id touches one slice of a class, and
-- retention drops whole slices.

-- The smallest UUIDv7 of a moment: 48 bits of Unix milliseconds, then zeros
-- (RFC 9562, section 5.7).
CREATE FUNCTION uuid_floor(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- How long a slice of a retention class is. Few slices keep reads that can't
-- name one cheap; short ones keep the overhang past the retention small.
CREATE FUNCTION slice_length(retention_days int) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT make_interval(days => CASE retention_days WHEN 1 THEN 1 WHEN 7 THEN 1 WHEN 30 THEN 5 ELSE 30 END)
$$;

-- Every slice that exists, with its bounds.
CREATE TABLE slices (
  parent         text NOT NULL,
  retention_days smallint NOT NULL,
  slice_name     text PRIMARY KEY,
  starts_at      timestamptz NOT NULL,
  ends_at        timestamptz NOT NULL,
  UNIQUE (parent, retention_days, starts_at)
);

-- Makes the slices that cover [from_time, until_time] and are missing. Returns
-- how many it made. Takes SHARE UPDATE EXCLUSIVE on the class table only.
CREATE FUNCTION ensure_slices(from_time timestamptz, until_time timestamptz) RETURNS int
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
    FROM unnest(ARRAY['notifications', 'feed_items']) AS parent, unnest(ARRAY[1, 7, 30, 365]) AS days
  LOOP
    slice_start := date_bin(class.length, from_time, timestamptz '2020-01-01 00:00:00+00');
    WHILE slice_start <= until_time LOOP
      slice_end := slice_start + class.length;
      child := format('%s_%s_%s', class.parent, class.days, to_char(slice_start AT TIME ZONE 'UTC', 'YYYYMMDD'));
      IF NOT EXISTS (SELECT FROM slices WHERE slice_name = child) THEN
        -- Made beside the tree and attached, which blocks no reader and no writer of it.
        EXECUTE format('CREATE TABLE carillon.%I (LIKE carillon.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, class.parent || '_' || class.days);
        EXECUTE format('ALTER TABLE carillon.%I SET (fillfactor = 80, autovacuum_vacuum_insert_scale_factor = 0.05)', child);
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
