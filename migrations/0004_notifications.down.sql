DROP TABLE notifications;
DELETE FROM slices WHERE parent = 'notifications';
