-- Who reacted to what, and how many did. New objects, and one nullable column.

-- Versions are given out at the door, in blocks: one for all reactions that a
-- commit takes. What was acknowledged later has the higher version, whichever
-- server took it.
CREATE SEQUENCE reaction_version INCREMENT BY 1024;

-- The newest state of each actor's reaction; the highest version wins. Kept for
-- good: a row that says no longer active refuses what comes late.
CREATE TABLE reactions (
  app_id           bigint NOT NULL,
  version          bigint NOT NULL,
  active           boolean NOT NULL,
  -- As it was before the newest version: what the counter has to move by.
  was_active       boolean NOT NULL DEFAULT false,
  object_id        text COLLATE "C" NOT NULL,
  kind             text COLLATE "C" NOT NULL,
  actor_id         text COLLATE "C" NOT NULL,
  -- The standing item that counts it, and the one that did before; NULL: none.
  recipient_id     text COLLATE "C",
  type             text COLLATE "C",
  was_recipient_id text COLLATE "C",
  was_type         text COLLATE "C",
  -- For the item's texts.
  data             json,
  PRIMARY KEY (app_id, object_id, kind, actor_id),
  CHECK ((recipient_id IS NULL) = (type IS NULL) AND (recipient_id IS NULL OR active))
) WITH (fillfactor = 90);
-- The newest of those that an item counts: its texts are those of this one.
CREATE INDEX reactions_of_item ON reactions (app_id, recipient_id, type, object_id, version) WHERE recipient_id IS NOT NULL;

CREATE TABLE reaction_counters (
  app_id    bigint NOT NULL,
  count     bigint NOT NULL CHECK (count >= 0),
  -- What the newest change moved it by.
  moved     bigint NOT NULL,
  object_id text COLLATE "C" NOT NULL,
  kind      text COLLATE "C" NOT NULL,
  PRIMARY KEY (app_id, object_id, kind)
) WITH (fillfactor = 50);

-- The one item of a feed that tells of an object's reactions of a type. It is
-- there as long as it counts any; retention may have taken the feed's own row.
CREATE TABLE reaction_items (
  app_id          bigint NOT NULL,
  count           bigint NOT NULL CHECK (count >= 0),
  moved           bigint NOT NULL,
  -- Where the row in feed_items is.
  notification_id uuid,
  retention_days  smallint,
  recipient_id    text COLLATE "C" NOT NULL,
  type            text COLLATE "C" NOT NULL,
  object_id       text COLLATE "C" NOT NULL,
  PRIMARY KEY (app_id, recipient_id, type, object_id)
) WITH (fillfactor = 50);

-- How many actors stand behind an item; NULL: it is of one notification. Such an
-- item moves up when it changes; if it was read before and stays so, its read_seq
-- is 0 from then on.
ALTER TABLE feed_items ADD COLUMN actor_count bigint;

-- Items that left their feed, so that streams can tell those who were away.
CREATE TABLE feed_removals (
  app_id          bigint NOT NULL,
  seq             bigint NOT NULL,
  removed_at      timestamptz NOT NULL DEFAULT now(),
  notification_id uuid NOT NULL,
  recipient_id    text NOT NULL,
  PRIMARY KEY (app_id, recipient_id, seq)
);
CREATE INDEX feed_removals_by_time ON feed_removals (removed_at);
