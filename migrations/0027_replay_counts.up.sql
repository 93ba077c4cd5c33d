-- How often what a row says was taken from the dead letters: header x-replay-count.
-- ACCESS EXCLUSIVE on outbox, for an instant: nothing else is in this transaction that
-- sends would wait for. Before any process of the release.
ALTER TABLE outbox ADD COLUMN replay_count smallint NOT NULL DEFAULT 0;
