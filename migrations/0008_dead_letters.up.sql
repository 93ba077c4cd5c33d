-- Messages that were given up. Written by the recorder together with the state
-- of their notification, before the broker's copy is acknowledged.
CREATE TABLE dead_letters (
  dead_letter_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- NULL where the message does not say, as with what others put in by hand.
  app_id          bigint,
  dead_at         timestamptz NOT NULL DEFAULT now(),
  notification_id uuid,
  retry_count     int NOT NULL DEFAULT 0,
  -- dead; moot: its notification had ended otherwise by then.
  state           text NOT NULL CHECK (state IN ('dead', 'moot')),
  queue           text NOT NULL,
  lane            text,
  message_id      text,
  type            text,
  exchange        text,
  routing_key     text,
  reason          text NOT NULL,
  error           text,
  traceparent     text,
  payload         bytea NOT NULL
);

-- The recorder may see a message twice (a crash before the acknowledgement).
CREATE UNIQUE INDEX dead_letters_once ON dead_letters (queue, message_id) WHERE state IN ('dead', 'moot') AND message_id IS NOT NULL;
CREATE INDEX dead_letters_by_app ON dead_letters (app_id, dead_letter_id);
