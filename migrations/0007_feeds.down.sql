DROP TABLE feed_items;
DROP TABLE feed_heads;
DELETE FROM slices WHERE parent = 'feed_items';
