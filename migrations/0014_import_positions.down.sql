DROP TABLE import_positions;
