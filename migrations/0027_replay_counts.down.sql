ALTER TABLE outbox DROP COLUMN replay_count;
