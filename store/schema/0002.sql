-- The cheap fingerprint of each blob in the hub (apps change and move them through links), names that links claim, switches of
-- targets, and the places that models were adopted from.

ALTER TABLE models ADD COLUMN blob_size INTEGER;                        -- NULL: not looked at yet
ALTER TABLE models ADD COLUMN blob_mtime_ns INTEGER;
ALTER TABLE models ADD COLUMN blob_ino INTEGER;
ALTER TABLE models ADD COLUMN blob_state TEXT NOT NULL DEFAULT 'ok';    -- ok, changed, gone, replaced
ALTER TABLE models ADD COLUMN successor TEXT;                           -- SHA-256 of what a changed blob became
CREATE INDEX models_name ON models(name);
CREATE INDEX models_type ON models(type);
CREATE INDEX models_blob_state ON models(blob_state) WHERE blob_state IN ('changed', 'gone');
CREATE INDEX models_successor ON models(successor) WHERE successor IS NOT NULL;

ALTER TABLE links ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE links ADD COLUMN scope;                                     -- the folder in which names must differ
ALTER TABLE links ADD COLUMN identity TEXT;                             -- the name it claims there, folded
ALTER TABLE links ADD COLUMN size INTEGER;                              -- a copy, as we left it
ALTER TABLE links ADD COLUMN mtime_ns INTEGER;
ALTER TABLE links ADD COLUMN ino INTEGER;
ALTER TABLE links ADD COLUMN dev INTEGER;
CREATE INDEX links_claim ON links(target, scope, identity) WHERE identity IS NOT NULL;

-- A target switched at run time. It holds as long as the configuration still says what it said then.
CREATE TABLE target_switches (
  name TEXT PRIMARY KEY,
  enabled INTEGER NOT NULL,
  configured INTEGER NOT NULL
) WITHOUT ROWID;

-- Where a model was adopted from: a link is wanted at the very place.
CREATE TABLE adopted (at PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX adopted_model ON adopted(sha256);
