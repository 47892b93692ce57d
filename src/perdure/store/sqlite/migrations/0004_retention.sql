-- What is left when much has ended, what is removed when its time is over, and who does it.

-- Executions that have not ended: few beside those that have, so whoever looks for them need not look at all. Written where one
-- begins and where it ends, and not by its steps.
CREATE TABLE unfinished (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO unfinished (execution, tenant) SELECT execution, tenant FROM executions WHERE status < 6;

-- Executions that have ended without success: what an operator lists most.
CREATE TABLE unsuccessful (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO unsuccessful (execution, tenant) SELECT execution, tenant FROM executions WHERE status > 6;

-- Executions that were removed and have left rows behind, which are cleared away a few at a time.
CREATE TABLE leftovers (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Chores that one process at a time has, until a moment.
CREATE TABLE leases (
    name   TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When a large value was last saved, by this database's clock: a young one may be named by a step that is not written yet.
ALTER TABLE blobs ADD COLUMN saved INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blobs_by_age ON blobs (saved);
CREATE INDEX blobs_that_are_files ON blobs (digest) WHERE body IS NULL;

-- Files of large values that no row names any more. One goes when it was not written for so many microseconds.
CREATE TABLE loose_files (
    digest  BLOB NOT NULL PRIMARY KEY,
    unsaved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
