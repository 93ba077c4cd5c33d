-- How far the import of a file has come: moved in the transaction that writes the
-- lines, so that one that was killed goes on where it was. Gone when it is done.
CREATE TABLE import_positions (
  app_id          bigint NOT NULL,
  file_size       bigint NOT NULL,
  -- The lines before this byte are in.
  byte_offset     bigint NOT NULL CHECK (byte_offset <= file_size),
  line_count      bigint NOT NULL,
  added           bigint NOT NULL,
  skipped         bigint NOT NULL,
  updated_at      timestamptz NOT NULL DEFAULT now(),
  kind            text COLLATE "C" NOT NULL CHECK (kind IN ('followers', 'topic')),
  -- SHA-256 of the first line, and of everything before byte_offset: another file
  -- of the same size is not taken for this one.
  first_line_hash bytea NOT NULL,
  prefix_hash     bytea NOT NULL,
  PRIMARY KEY (app_id, kind, file_size, first_line_hash)
);
