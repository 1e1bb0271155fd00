-- What classifying needs of a content, so that it can be asked again without the disk; and hashes that were asked for.

CREATE TABLE headers (
  sha256 TEXT PRIMARY KEY,
  packed BLOB,                              -- the compact header (rules/compact.py); NULL: too large to keep, or nothing could be read
  said TEXT NOT NULL DEFAULT '{}',          -- what others say of it: origin -> evidence
  version INTEGER NOT NULL,                 -- of the rule tables whose verdict this is; -1: none yet
  verdict TEXT NOT NULL DEFAULT '',         -- type, base and confidence by those tables, without a person's word
  kept REAL NOT NULL
);

CREATE TABLE hashes (
  sha256 TEXT PRIMARY KEY,
  autov1 TEXT, autov3 TEXT, blake3 TEXT, crc32 TEXT,  -- lower-case hex; NULL: not asked for yet, or it has none
  at REAL NOT NULL
) WITHOUT ROWID;

-- Both are a cache of what is kept: with the last record of a content they go.
CREATE TRIGGER models_gone AFTER DELETE ON models BEGIN
  DELETE FROM headers WHERE sha256 = old.sha256;
  DELETE FROM hashes WHERE sha256 = old.sha256;
END;
