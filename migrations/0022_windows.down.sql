-- What waits for the end of a window is in its item, and is not sent.
DELETE FROM schedules WHERE cause = 'window';
ALTER TABLE reaction_items DROP COLUMN window_id, DROP COLUMN window_ends_at, DROP COLUMN window_latest_at,
  DROP COLUMN window_tells;
ALTER TABLE reactions DROP COLUMN window_id, DROP COLUMN was_window_id;
