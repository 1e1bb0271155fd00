-- The names that models had in targets which have no link of them now: a target that is switched on again, or lies elsewhere, gets
-- each model by the name that workflows know.
CREATE TABLE past_names (
  target TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  type TEXT NOT NULL,                       -- whose folder it was in
  tail NOT NULL,                            -- the place of the link below the folder in which names must differ
  identity TEXT NOT NULL,                   -- the name it claimed there, folded
  PRIMARY KEY (target, sha256)
) WITHOUT ROWID;
CREATE INDEX past_names_claim ON past_names(target, identity);
