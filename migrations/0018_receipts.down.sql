DELETE FROM schedules WHERE cause = 'resend';
ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check CHECK (cause IN ('provider', 'receipt', 'busy'));
ALTER TABLE deliveries DROP COLUMN early_receipt, DROP COLUMN resent;
