-- Apps (tenants) and their secrets. New objects only: no lock on anything live.
CREATE SCHEMA IF NOT EXISTS carillon;

CREATE TABLE apps (
  app_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  name       text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
  app_key    text NOT NULL UNIQUE,
  scopes     text[] NOT NULL CHECK (scopes <@ ARRAY['send', 'feed', 'catalog', 'admin'])
);

-- The two newest secrets of an app are valid, so that a rotation needs no outage.
CREATE TABLE app_secrets (
  app_id      bigint NOT NULL REFERENCES apps ON DELETE CASCADE,
  secret_id   bigint GENERATED ALWAYS AS IDENTITY,
  created_at  timestamptz NOT NULL DEFAULT now(),
  -- SHA-256 of the secret: fast is enough for 256 random bits.
  secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
  PRIMARY KEY (app_id, secret_id)
);
