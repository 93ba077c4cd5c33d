DROP TABLE stragglers;
DROP TABLE sweep_positions;
