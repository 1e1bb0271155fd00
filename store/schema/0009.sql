-- What CivitAI said per content: asked once, remembered for a while. Never a token, never more of an answer than terms.Published.

CREATE TABLE lookups (
  sha256 TEXT PRIMARY KEY,
  asked REAL,                               -- when somebody ordered it to be asked for now; NULL: nobody waits
  at REAL,                                  -- when it was answered; NULL: never yet
  published TEXT,                           -- JSON of terms.Published; NULL: not known there
  note TEXT NOT NULL DEFAULT ''             -- why an answer could not be used
) WITHOUT ROWID;
CREATE INDEX lookups_asked ON lookups(asked) WHERE asked IS NOT NULL;
