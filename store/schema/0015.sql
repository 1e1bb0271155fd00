-- The line of history of our own `move` or `copy` that put the file there; NULL for what others put there. By it a file that two watches
-- would send back and forth is found out, and `why` says where it came from.
ALTER TABLE files ADD COLUMN placed_by INTEGER;
