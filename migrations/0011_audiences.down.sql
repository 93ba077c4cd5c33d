DROP FUNCTION for_recipient;
DROP FUNCTION new_uuid7;
DROP TABLE event_shards;
DROP TABLE events;
ALTER TABLE feed_heads DROP COLUMN event_position;
ALTER TABLE apps DROP COLUMN shared_audience_threshold;
DROP TABLE memberships;
DROP TABLE event_positions;
