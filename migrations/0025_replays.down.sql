DROP TABLE replays;
DELETE FROM dead_letters WHERE state IN ('replayed', 'expired');
DROP INDEX dead_letters_by_queue, dead_letters_replayed, dead_letters_by_replay, dead_letters_died_again, dead_letters_done;
ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_state_check;
ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_state_check CHECK (state IN ('dead', 'moot'));
ALTER TABLE dead_letters
  DROP COLUMN delivery_id, DROP COLUMN replay_id, DROP COLUMN replayed_at, DROP COLUMN died_again_at,
  DROP COLUMN retention_days, DROP COLUMN replay_count, DROP COLUMN provider, DROP COLUMN error_kind;
DROP FUNCTION error_kind;
