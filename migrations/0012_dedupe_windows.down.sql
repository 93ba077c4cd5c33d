ALTER TABLE types DROP COLUMN dedupe_window, DROP COLUMN dedupe_key;
DROP TABLE dedupe_windows;
