-- What a receipt can say too early, and what it can bring back.

-- A receipt that a call failed, before the call itself was recorded: {"message_id",
-- "code", "error"}. It counts once the call is recorded with that id.
ALTER TABLE deliveries ADD COLUMN early_receipt jsonb;
-- Sent once more after a receipt said that the handset could not be reached. One that
-- may still be keeps its payload while it is 'sent'.
ALTER TABLE deliveries ADD COLUMN resent boolean NOT NULL DEFAULT false;

ALTER TABLE schedules DROP CONSTRAINT schedules_cause_check;
ALTER TABLE schedules ADD CONSTRAINT schedules_cause_check CHECK (cause IN ('provider', 'receipt', 'busy', 'resend'));
