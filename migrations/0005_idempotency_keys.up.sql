-- First answers by the caller's key, for 24 h. Hash-partitioned: no boundary in
-- time, so a key means the same before and after midnight.
CREATE TABLE idempotency_keys (
  app_id          bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL,
  notification_id uuid NOT NULL,
  idempotency_key text NOT NULL,
  -- SHA-256 of the canonical request.
  payload_hash    bytea NOT NULL CHECK (length(payload_hash) = 32),
  PRIMARY KEY (app_id, idempotency_key)
) PARTITION BY HASH (app_id, idempotency_key);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

DO $$
BEGIN
  FOR part IN 0..7 LOOP
    EXECUTE format('CREATE TABLE idempotency_keys_%s PARTITION OF idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER %s)
                    WITH (autovacuum_vacuum_scale_factor = 0.02)', part, part);
  END LOOP;
END $$;
