DROP FUNCTION ensure_slices(timestamptz, timestamptz);
DROP TABLE slices;
DROP FUNCTION slice_length(int);
DROP FUNCTION uuid_floor(timestamptz);
