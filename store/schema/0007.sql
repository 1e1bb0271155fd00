-- The state a row had before it was away or gone: it has it again when its file is back, or found under another name.
ALTER TABLE files ADD COLUMN was TEXT;
