-- Undo: what a line of history changed besides its moves, and by which line it was undone.

ALTER TABLE history ADD COLUMN did TEXT;                                -- JSON of rows.Deed; NULL: nothing that undo could reverse
ALTER TABLE history ADD COLUMN undone INTEGER;                          -- id of the line that undid this one
CREATE INDEX history_file ON history(file_id) WHERE file_id IS NOT NULL;
CREATE INDEX jobs_file ON jobs(json_extract(payload, '$.file')) WHERE json_extract(payload, '$.file') IS NOT NULL;
CREATE INDEX history_sha ON history(sha256) WHERE sha256 IS NOT NULL;
