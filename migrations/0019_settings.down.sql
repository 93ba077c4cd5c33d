-- Locks: ACCESS EXCLUSIVE on types for an instant.
DROP TABLE mutes;
DROP TABLE recipient_settings;
DROP TABLE app_preferences;
ALTER TABLE types DROP COLUMN policy, DROP COLUMN required, DROP COLUMN category;
