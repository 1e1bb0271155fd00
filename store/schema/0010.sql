-- A caption set says how its texts shall read and who writes them.
ALTER TABLE caption_sets ADD COLUMN style TEXT NOT NULL DEFAULT '{}';    -- JSON of the fields of rules.captions.Style that ask for something
ALTER TABLE caption_sets ADD COLUMN captioner TEXT NOT NULL DEFAULT '';  -- name in the configuration; '': whoever a rule or a person names
ALTER TABLE caption_sets ADD COLUMN created REAL;
