-- Reactions of types that aggregate are gathered for a time. Nullable columns, and one with
-- a constant default: nothing is rewritten.

-- The window that counts it, and the one that did before; NULL: none, it is counted for good.
ALTER TABLE reactions ADD COLUMN window_id uuid, ADD COLUMN was_window_id uuid;

ALTER TABLE reaction_items
  -- The newest window of the group; `count` and the item are those of it. NULL: no window
  -- was ever opened, and the item stands for ever.
  ADD COLUMN window_id uuid,
  -- By the app's clock. NULL: its end has been told of.
  ADD COLUMN window_ends_at timestamptz,
  -- A sliding one ends no later, whoever joins.
  ADD COLUMN window_latest_at timestamptz,
  -- A row of schedules waits for its end (cause 'window', message_id = window_id): until
  -- that is carried out the window is open, however late it is.
  ADD COLUMN window_tells boolean NOT NULL DEFAULT false;
