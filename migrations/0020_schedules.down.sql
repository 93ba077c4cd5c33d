-- What waits for a digest, a window or a quiet hour is sent now.
DROP INDEX dead_letters_by_notification;
DROP INDEX schedules_by_slice;
DROP TABLE digest_entries;
DROP TABLE digests;
DELETE FROM schedules WHERE cause IN ('digest', 'window');
UPDATE notifications n SET state = 'accepted' FROM schedules s
WHERE s.cause = 'send_time' AND n.notification_id = s.message_id AND n.state = 'scheduled';
INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
SELECT message_id, app_id, lane, exchange, routing_key, type, traceparent, payload FROM schedules WHERE cause = 'send_time'
ON CONFLICT DO NOTHING;
DELETE FROM schedules WHERE cause IN ('send_time', 'hold');
UPDATE deliveries d SET state = 'pending', touched_at = '-infinity'
WHERE state = 'held' AND NOT EXISTS (SELECT FROM schedules s WHERE s.message_id = d.delivery_id);
ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check CHECK (cause IN ('provider', 'receipt', 'busy', 'resend')) NOT VALID;
DROP FUNCTION newest_trail(jsonb, jsonb);
DROP FUNCTION add_counts(jsonb, jsonb);
ALTER TABLE events DROP COLUMN suppressed;
ALTER TABLE deliveries DROP COLUMN trail;
ALTER TABLE notifications DROP COLUMN trail;
