-- When a picture of a dataset was last seen to lie there as it is recorded. NULL: when it was added, or by the last comparison of its folder.
ALTER TABLE items ADD COLUMN verified REAL;
