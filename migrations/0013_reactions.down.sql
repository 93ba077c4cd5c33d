DROP TABLE feed_removals;
ALTER TABLE feed_items DROP COLUMN actor_count;
DROP TABLE reaction_items;
DROP TABLE reaction_counters;
DROP TABLE reactions;
DROP SEQUENCE reaction_version;
