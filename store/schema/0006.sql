-- A file that is renamed keeps its inode: by it its row is found again.
CREATE INDEX files_ino ON files(ino);
