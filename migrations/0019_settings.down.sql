-- Locks: ACCESS EXCLUSIVE on types for an instant.
DROP FUNCTION shows_in_feed(bigint, text, text, text, text);
DROP FUNCTION narrowest_choice(jsonb, text, text);
DROP TABLE mutes;
DROP TABLE recipient_settings;
DROP TABLE app_preferences;
ALTER TABLE types DROP COLUMN policy, DROP COLUMN required, DROP COLUMN category;
