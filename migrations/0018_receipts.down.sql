-- Nothing else knows that these have been counted: they end as their receipts said.
UPDATE deliveries SET state = 'undelivered', finished_at = now(), claimed_until = NULL WHERE resent AND finished_at IS NULL;
UPDATE deliveries SET payload = NULL WHERE finished_at IS NOT NULL AND payload IS NOT NULL;
DELETE FROM schedules s USING deliveries d WHERE d.delivery_id = s.message_id AND d.finished_at IS NOT NULL;
ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check CHECK (cause IN ('provider', 'receipt', 'busy'));
DROP INDEX deliveries_kept;
ALTER TABLE deliveries DROP COLUMN early_receipts, DROP COLUMN resent;
