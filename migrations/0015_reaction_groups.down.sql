DROP TABLE reaction_groups;
