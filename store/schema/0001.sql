-- The first schema. Paths are TEXT where their bytes are UTF-8 and BLOB where they are not (store/codec.py). Times are seconds
-- since the epoch, sizes are bytes.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE watches (
  name TEXT PRIMARY KEY,
  path NOT NULL,
  mode TEXT NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'starting',   -- starting, watching, polling, away, paused, disabled
  detail TEXT NOT NULL DEFAULT '',
  scanned REAL,                             -- when the last full comparison ended
  files INTEGER NOT NULL DEFAULT 0,         -- how many files it saw
  root_dev INTEGER, root_ino INTEGER        -- the folder it saw them in: another one of that name is another disk
) WITHOUT ROWID;

-- One row per path that ever lay under a watch. present=1: it lies there now; else `end_kind` and `end_at` say where it went.
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  watch TEXT NOT NULL,
  folder NOT NULL,
  name NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ino INTEGER NOT NULL, dev INTEGER NOT NULL,
  lead INTEGER REFERENCES files(id) ON DELETE SET NULL,   -- the unit's lead file; NULL for the lead itself
  present INTEGER NOT NULL DEFAULT 1,
  state TEXT NOT NULL,                      -- queued, done, left, held, failed, away, gone
  kind TEXT NOT NULL DEFAULT 'other',
  condition TEXT NOT NULL DEFAULT 'ok',
  reason TEXT,
  type TEXT, base TEXT, confidence REAL,
  facts TEXT,                               -- JSON of terms.Facts, of leads only
  pipeline TEXT, rule TEXT, why TEXT NOT NULL DEFAULT '',
  sha256 TEXT, xxh3 TEXT,
  end_kind TEXT, end_at, note TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL DEFAULT '',            -- comma separated
  first_seen REAL NOT NULL, last_seen REAL NOT NULL
);
-- rescan reads this index alone, one query a folder
CREATE UNIQUE INDEX files_here ON files(watch, folder, name) WHERE present = 1;
-- (`present` stands in it because SQLite reads it from the row otherwise, though the index says it is 1)
CREATE INDEX files_look ON files(watch, folder, name, size, mtime_ns, ino, present) WHERE present = 1;
CREATE INDEX files_place ON files(folder, name);
CREATE INDEX files_lead ON files(lead) WHERE lead IS NOT NULL;
CREATE INDEX files_sha ON files(sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX files_xxh3 ON files(xxh3) WHERE xxh3 IS NOT NULL;
CREATE INDEX files_state ON files(state, id) WHERE lead IS NULL;

CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  xxh3 TEXT NOT NULL,
  size INTEGER NOT NULL,
  name TEXT NOT NULL,
  blob NOT NULL,
  in_hub INTEGER NOT NULL,
  folder INTEGER NOT NULL DEFAULT 0,
  type TEXT NOT NULL, base TEXT NOT NULL, variant TEXT, subfamily TEXT, precision TEXT, lora_format TEXT,
  confidence REAL NOT NULL,
  condition TEXT NOT NULL, reason TEXT,
  facts TEXT NOT NULL,
  wanted TEXT,                              -- NULL: not deployed; '*': every enabled target; else target names, comma separated
  tags TEXT NOT NULL DEFAULT '',
  added REAL NOT NULL
);
CREATE INDEX models_wanted ON models(id) WHERE wanted IS NOT NULL;

-- The names one content was dropped under: a second copy adds a name, not bytes.
CREATE TABLE model_names (
  sha256 TEXT NOT NULL REFERENCES models(sha256) ON DELETE CASCADE,
  name TEXT NOT NULL,
  origin NOT NULL,
  added REAL NOT NULL,
  PRIMARY KEY (sha256, origin)
) WITHOUT ROWID;

CREATE TABLE overrides (sha256 TEXT PRIMARY KEY, type TEXT, base TEXT, at REAL NOT NULL) WITHOUT ROWID;

CREATE TABLE links (
  at PRIMARY KEY,
  target TEXT NOT NULL, type TEXT NOT NULL,
  points_to NOT NULL,
  sha256 TEXT NOT NULL,
  state TEXT NOT NULL,                      -- ok, missing, broken, adoptable, conflict, foreign, not mapped
  ours INTEGER NOT NULL DEFAULT 0,          -- 1: we made it, so we may remove it
  method TEXT NOT NULL DEFAULT 'symlink',
  made REAL
) WITHOUT ROWID;
CREATE INDEX links_model ON links(sha256);

CREATE TABLE datasets (
  id INTEGER PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE COLLATE NOCASE,
  name TEXT NOT NULL,
  path NOT NULL,
  created REAL NOT NULL
);
CREATE TABLE items (
  id INTEGER PRIMARY KEY,
  dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
  rel NOT NULL,
  sha256 TEXT NOT NULL, xxh3 TEXT NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ino INTEGER NOT NULL, dev INTEGER NOT NULL,
  format TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  orientation INTEGER NOT NULL, animated INTEGER NOT NULL, mode TEXT NOT NULL,
  dhash TEXT,
  flags TEXT NOT NULL DEFAULT '',           -- one a line
  origin TEXT NOT NULL DEFAULT '',
  added REAL NOT NULL,
  UNIQUE (dataset_id, rel)
);
CREATE INDEX items_sha ON items(dataset_id, sha256);
CREATE INDEX items_ino ON items(ino);
CREATE TABLE caption_sets (
  id INTEGER PRIMARY KEY,
  dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  active INTEGER NOT NULL DEFAULT 0,        -- the one whose texts lie beside the pictures
  UNIQUE (dataset_id, name)
);
CREATE UNIQUE INDEX caption_sets_active ON caption_sets(dataset_id) WHERE active = 1;
CREATE TABLE captions (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  set_id INTEGER NOT NULL REFERENCES caption_sets(id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  source TEXT NOT NULL,                     -- imported, generated, manual
  captioner TEXT NOT NULL DEFAULT '',
  size INTEGER, mtime_ns INTEGER, ino INTEGER, dev INTEGER,   -- the .txt as we left it
  at REAL NOT NULL,
  PRIMARY KEY (item_id, set_id)
) WITHOUT ROWID;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  lane TEXT NOT NULL,
  state TEXT NOT NULL,
  title TEXT NOT NULL,
  payload TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 0,
  run_at REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL DEFAULT 3,
  owner TEXT, lease_until REAL,
  progress REAL,
  error TEXT,
  created REAL NOT NULL, finished REAL
);
-- one open job a key: dropping, touching or rescanning a file twice makes no second job
CREATE UNIQUE INDEX jobs_open ON jobs(key) WHERE state IN ('queued', 'running', 'paused');
CREATE INDEX jobs_next ON jobs(lane, priority DESC, run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs(lease_until) WHERE state = 'running';
CREATE INDEX jobs_state ON jobs(state, id);
CREATE TABLE paused_lanes (lane TEXT PRIMARY KEY) WITHOUT ROWID;

-- What happened, and the event feed: `id` is the event id that a stream resumes from. `undo` holds the moves that take it back.
CREATE TABLE history (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  event TEXT NOT NULL,                      -- arrived, decided, done, failed, departed, watch, linked, captioned, ...
  path,
  verb TEXT, status TEXT, rule TEXT,
  note TEXT NOT NULL DEFAULT '',
  file_id INTEGER, job_id INTEGER,
  sha256 TEXT, dataset TEXT,
  undo TEXT
);
CREATE INDEX history_path ON history(path);

-- Open intents. A row lives from just before the first rename until the Outcome is recorded.
CREATE TABLE journal (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  verb TEXT NOT NULL,
  file_id INTEGER, job_id INTEGER, step INTEGER,
  prepared TEXT NOT NULL
);

CREATE TABLE aside (
  id INTEGER PRIMARY KEY,
  place TEXT NOT NULL,                      -- trash, quarantine
  path NOT NULL,
  original NOT NULL,
  reason TEXT NOT NULL,
  at REAL NOT NULL,
  until REAL NOT NULL,
  state TEXT NOT NULL DEFAULT 'kept'        -- kept, restored, expired
);
CREATE INDEX aside_until ON aside(until) WHERE state = 'kept';
