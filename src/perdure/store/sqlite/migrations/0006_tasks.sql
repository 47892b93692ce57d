-- Attempts that another worker than the home carries out, and what workers have that others may not.

-- One row is one task: an attempt of the instance at `path`, by `number` told from those before. It waits while `worker` is empty:
-- begun not before `due`, nor from `until` on (0: always), nor where it is to `stop`. `left_as`: why nobody will report of it.
CREATE TABLE tasks (
    execution BLOB NOT NULL,
    path      TEXT NOT NULL,
    number    INTEGER NOT NULL,
    tenant    TEXT NOT NULL,
    needs     TEXT NOT NULL,
    priority  INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 5),
    at        INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    worker    TEXT NOT NULL,
    claimed   INTEGER NOT NULL,
    stop      TEXT NOT NULL,
    left_as   TEXT NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (execution, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_to_begin ON tasks (needs, priority, at) WHERE worker = '' AND stop = '' AND left_as = '';
CREATE INDEX tasks_by_worker ON tasks (worker) WHERE worker <> '';

-- The labels of each worker, as one text: `gpu=true,region=eu`.
ALTER TABLE workers ADD COLUMN labels TEXT NOT NULL DEFAULT '';
