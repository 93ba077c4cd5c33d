-- What a receipt can say too early, and what it can bring back.

-- Receipts that a call failed, before the call itself was recorded, by its id at the
-- provider: {"code", "error", "resend_us"}. One counts once a call with its id is recorded.
ALTER TABLE deliveries ADD COLUMN early_receipts jsonb;
-- Sent once more after a receipt said that the handset could not be reached; its
-- notification has counted it. One that may still be keeps its payload while it is
-- 'sent', for so long as a receipt may come.
ALTER TABLE deliveries ADD COLUMN resent boolean NOT NULL DEFAULT false;
CREATE INDEX deliveries_kept ON deliveries (finished_at) WHERE state = 'sent' AND payload IS NOT NULL;

ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check CHECK (cause IN ('provider', 'receipt', 'busy', 'resend'));
