-- How many jobs and units are in each state, kept by the statements that change them: a status must not count 100,000 rows each time.

CREATE TABLE tally (
  what TEXT NOT NULL,                       -- job, unit
  lane TEXT NOT NULL,                       -- of jobs; '' of units
  state TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (what, lane, state)
) WITHOUT ROWID;
INSERT INTO tally SELECT 'job', lane, state, count(*) FROM jobs GROUP BY lane, state;
INSERT INTO tally SELECT 'unit', '', state, count(*) FROM files WHERE lead IS NULL GROUP BY state;

CREATE TRIGGER jobs_more AFTER INSERT ON jobs BEGIN
  INSERT INTO tally VALUES ('job', new.lane, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_less AFTER DELETE ON jobs BEGIN
  UPDATE tally SET n = n - 1 WHERE what = 'job' AND lane = old.lane AND state = old.state;
END;
CREATE TRIGGER jobs_other AFTER UPDATE OF state, lane ON jobs WHEN old.state <> new.state OR old.lane <> new.lane BEGIN
  UPDATE tally SET n = n - 1 WHERE what = 'job' AND lane = old.lane AND state = old.state;
  INSERT INTO tally VALUES ('job', new.lane, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER units_more AFTER INSERT ON files WHEN new.lead IS NULL BEGIN
  INSERT INTO tally VALUES ('unit', '', new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER units_less AFTER DELETE ON files WHEN old.lead IS NULL BEGIN
  UPDATE tally SET n = n - 1 WHERE what = 'unit' AND lane = '' AND state = old.state;
END;
CREATE TRIGGER units_other AFTER UPDATE OF state, lead ON files
  WHEN old.state <> new.state OR (old.lead IS NULL) <> (new.lead IS NULL) BEGIN
  UPDATE tally SET n = n - 1 WHERE old.lead IS NULL AND what = 'unit' AND lane = '' AND state = old.state;
  INSERT INTO tally SELECT 'unit', '', new.state, 1 WHERE new.lead IS NULL ON CONFLICT DO UPDATE SET n = n + 1;
END;
