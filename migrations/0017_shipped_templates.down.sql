DELETE FROM templates WHERE app_id = 0;
UPDATE catalogue_version SET version = version + 1;
