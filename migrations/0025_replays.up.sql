-- Dead letters that are put back, and who did it. Locks: ACCESS EXCLUSIVE on dead_letters
-- while the kinds of errors are filled in and its indexes are built: what dies meanwhile
-- waits in its dead-letter queue, and nothing that is sent touches the table. Before any
-- process of the release.

-- What was done with dead letters: put back (replay), deleted (purge), or shown unmasked (export).
CREATE TABLE replays (
  replay_id     uuid PRIMARY KEY DEFAULT new_uuid7(),
  -- Whose credentials asked for it.
  app_id        bigint NOT NULL,
  started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- While it runs: who runs it has been there at this moment.
  heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Since when the one runs it that runs it now, or ran it last.
  taken_over_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at   timestamptz,
  -- Only what had died when it began: nothing goes round within one run.
  up_to         bigint NOT NULL,
  -- Every letter up to here has been looked at, but for those that others held. It never
  -- goes back: once more it looks only at what it can put back.
  position      bigint NOT NULL DEFAULT 0,
  -- Letters that it may look at; 0: all.
  most          bigint NOT NULL DEFAULT 0,
  matched       bigint NOT NULL,
  replayed      bigint NOT NULL DEFAULT 0,
  expired       bigint NOT NULL DEFAULT 0,
  ended         bigint NOT NULL DEFAULT 0,
  poison        bigint NOT NULL DEFAULT 0,
  unroutable    bigint NOT NULL DEFAULT 0,
  taken         bigint NOT NULL DEFAULT 0,
  -- Counts who runs it: only the newest may go on.
  epoch         int NOT NULL DEFAULT 1,
  max_replays   smallint NOT NULL,
  kind          text NOT NULL CHECK (kind IN ('replay', 'purge', 'export')),
  state         text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'interrupted', 'failing')),
  operator      text NOT NULL,
  reason        text NOT NULL,
  detail        text,
  -- What was asked for; ages as moments too, so that a run that goes on later means the same.
  filter        jsonb NOT NULL,
  CHECK ((finished_at IS NULL) = (state = 'running'))
);

-- The kind of an error: addresses, ids and numbers are taken out. A number that follows a
-- colon or the word HTTP is a provider's code, and says which error it is; one behind a
-- hyphen is of a name.
CREATE FUNCTION error_kind(said text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  kind text := said;
BEGIN
  kind := regexp_replace(kind, '[[:alnum:]._%+-]+@[[:alnum:]-]+(\.[[:alnum:]-]+)+', '<address>', 'g');
  kind := regexp_replace(kind, '[[:alpha:]]+://[^[:space:]"'']+', '<url>', 'g');
  kind := regexp_replace(kind, '\m[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]+)?', '<address>', 'g');
  kind := regexp_replace(kind, '\+[0-9]{6,}', '<number>', 'g');
  kind := regexp_replace(kind, '\m(?=[[:alnum:]_-]*[0-9])[[:alnum:]_-]{12,}\M', '<id>', 'g');
  kind := regexp_replace(kind, '[0-9]{6,}', '<number>', 'g');
  kind := regexp_replace(kind, '(?<!: )(?<!HTTP )(?<!-)\m[0-9]+([.,:][0-9]+)*', '<number>', 'g');
  RETURN left(kind, 200);
END $$;

ALTER TABLE dead_letters
  ADD COLUMN delivery_id uuid,
  -- The run that put it back, or found that it is over.
  ADD COLUMN replay_id uuid,
  ADD COLUMN replayed_at timestamptz,
  -- It was put back, and was given up once more.
  ADD COLUMN died_again_at timestamptz,
  ADD COLUMN retention_days smallint,
  ADD COLUMN replay_count smallint NOT NULL DEFAULT 0,
  -- Of deliveries: the one that was asked last.
  ADD COLUMN provider text,
  -- The error without what differs from letter to letter.
  ADD COLUMN error_kind text;

-- dead; moot: its notification had ended otherwise; replayed; expired: its ttl had ended
-- when somebody wanted to replay it.
ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_state_check;
ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_state_check
  CHECK (state IN ('dead', 'moot', 'replayed', 'expired')) NOT VALID;

UPDATE dead_letters SET error_kind = error_kind(error) WHERE state = 'dead' AND error IS NOT NULL;

-- What is grouped and counted is read from here, never from between the payloads.
CREATE INDEX dead_letters_by_queue ON dead_letters (queue, dead_letter_id)
  INCLUDE (app_id, dead_at, lane, type, error_kind, reason, provider) WHERE state = 'dead';
-- What dies again is told from what is recorded twice by the first, and counted by the others.
CREATE INDEX dead_letters_replayed ON dead_letters (message_id, queue) WHERE state = 'replayed';
CREATE INDEX dead_letters_by_replay ON dead_letters (replay_id, dead_letter_id) WHERE replay_id IS NOT NULL;
CREATE INDEX dead_letters_died_again ON dead_letters (replay_id, died_again_at) WHERE died_again_at IS NOT NULL;
-- To forget it.
CREATE INDEX dead_letters_done ON dead_letters (greatest(dead_at, replayed_at)) WHERE state <> 'dead';
