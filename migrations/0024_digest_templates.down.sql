DELETE FROM templates WHERE app_id = 0 AND type = 'marketing.digest';
UPDATE catalogue_version SET version = version + 1;
