-- Captioning: jobs are claimed by captioner, a run over a dataset is one thing, and how good a picture is is known by its content.

-- what waits for one captioner, in the order in which it is claimed
CREATE INDEX jobs_captioner ON jobs(json_extract(payload, '$.captioner'), priority DESC, run_at, id)
  WHERE state = 'queued' AND lane = 'caption';
CREATE INDEX jobs_run ON jobs(json_extract(payload, '$.run'), state, id) WHERE json_extract(payload, '$.run') IS NOT NULL;

-- A run: its jobs are made a few hundred at a time (`cursor` is the item up to which they are), in the transaction that moves the cursor.
CREATE TABLE caption_runs (
  id INTEGER PRIMARY KEY,
  dataset TEXT NOT NULL,
  caption_set TEXT NOT NULL,
  captioner TEXT NOT NULL,
  style TEXT NOT NULL,                      -- JSON of captions.Style: what was asked for with this run
  picks TEXT NOT NULL,                      -- all, missing, below
  below REAL,                               -- of `below`: pictures whose overall quality is less
  pictures TEXT,                            -- JSON list of item ids; NULL: the whole dataset
  overwrite INTEGER NOT NULL DEFAULT 0,     -- 1: texts by hand and imported ones too
  priority INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'running',    -- running, paused, done, cancelled
  phase TEXT NOT NULL DEFAULT 'caption',    -- measure (first, where quality decides), caption
  cursor INTEGER NOT NULL DEFAULT 0,
  exhausted INTEGER NOT NULL DEFAULT 0,     -- 1: every job of this phase is made
  fed INTEGER NOT NULL DEFAULT 0,           -- jobs made
  total INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL, finished REAL
);
CREATE INDEX caption_runs_open ON caption_runs(id) WHERE state IN ('running', 'paused');

-- how its jobs ended is counted by the statements that end them
CREATE TRIGGER caption_run_counts AFTER UPDATE OF state ON jobs
  WHEN old.state <> new.state AND new.lane = 'caption' AND json_extract(new.payload, '$.run') IS NOT NULL BEGIN
  UPDATE caption_runs SET done = done + (new.state = 'done') - (old.state = 'done'),
    failed = failed + (new.state = 'failed') - (old.state = 'failed'),
    cancelled = cancelled + (new.state = 'cancelled') - (old.state = 'cancelled')
    WHERE id = json_extract(new.payload, '$.run');
END;

-- How good a picture is, once for each content.
CREATE TABLE quality (
  sha256 TEXT PRIMARY KEY,
  version INTEGER NOT NULL,                 -- captions.QUALITY_VERSION of what was measured
  measured TEXT NOT NULL,                   -- JSON: score -> 0..1
  opinion TEXT NOT NULL,                    -- JSON: what a model said of it
  flags TEXT NOT NULL DEFAULT '',           -- one a line
  overall REAL,
  dhash TEXT NOT NULL DEFAULT '',
  at REAL NOT NULL
) WITHOUT ROWID;

-- What a person should know of a generated text; gone when the text is another.
CREATE TABLE caption_flags (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  set_id INTEGER NOT NULL REFERENCES caption_sets(id) ON DELETE CASCADE,
  flags TEXT NOT NULL,                      -- one a line
  PRIMARY KEY (item_id, set_id)
) WITHOUT ROWID;
CREATE INDEX caption_flags_set ON caption_flags(set_id);
CREATE TRIGGER caption_flags_old AFTER UPDATE OF text ON captions BEGIN
  DELETE FROM caption_flags WHERE item_id = new.item_id AND set_id = new.set_id;
END;
CREATE TRIGGER caption_flags_gone AFTER DELETE ON captions BEGIN
  DELETE FROM caption_flags WHERE item_id = old.item_id AND set_id = old.set_id;
END;
