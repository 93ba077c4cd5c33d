DROP TABLE recurrences;
DROP TABLE tripped_senders;
ALTER TABLE apps DROP COLUMN app_rate, DROP COLUMN app_burst, DROP COLUMN sender_rate, DROP COLUMN sender_burst,
  DROP COLUMN runaway_per_minute, DROP COLUMN clock_offset, DROP COLUMN sandbox;
