DROP FUNCTION without_name(text, text);
DROP FUNCTION newest_attempts(jsonb, jsonb);
DROP FUNCTION outcome_of_rank(int);
DROP FUNCTION better_outcome(text, text);
DROP FUNCTION delivery_event(text, bigint, uuid, uuid, text, text, text, text, text, text);
DROP TABLE tombstones, daily_stats, interactions, schedules, suppressions, provider_tokens, provider_health, providers, templates, devices, recipients;
DROP TABLE deliveries;
DELETE FROM slices WHERE parent = 'deliveries';
ALTER TABLE notifications DROP COLUMN open_deliveries, DROP COLUMN outcome;
ALTER TABLE types DROP COLUMN track_interactions, DROP COLUMN unsubscribable, DROP COLUMN at_most_once;
ALTER TABLE apps DROP COLUMN default_locale;
UPDATE catalogue_version SET version = version + 1;

CREATE OR REPLACE FUNCTION slice_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'autovacuum_vacuum_insert_scale_factor = 0.05, fillfactor = '
         || CASE parent WHEN 'notifications' THEN 50 ELSE 100 END
$$;

-- Makes the slices that cover [from_time, until_time] and are missing. Returns
-- how many it made. Takes SHARE UPDATE EXCLUSIVE on the class table only.
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
    FROM unnest(ARRAY['notifications', 'feed_items']) AS parent, unnest(ARRAY[1, 7, 30, 365]) AS days
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
