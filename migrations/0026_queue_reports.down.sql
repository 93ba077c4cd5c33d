DROP TABLE queue_reports;
