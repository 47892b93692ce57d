-- The first schema. Times are microseconds UTC, ids 16 bytes of UUIDv7 (they grow, so rows land at the end of their trees),
-- bodies are never read by SQL. Where a key is made of names that people choose, the tenant leads it; an execution's id is
-- unique by itself.

-- What this database is: its incarnation, which feed cursors carry, since a restored copy is another history.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('incarnation', randomblob(16));

-- The narrow row of an execution. No index holds a column that a step changes.
CREATE TABLE executions (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL,
    workflow  TEXT NOT NULL,
    digest    BLOB NOT NULL,
    created   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    priority  INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 5),
    status    INTEGER NOT NULL,
    home      TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    key       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX executions_by_workflow ON executions (tenant, workflow, execution);
CREATE INDEX executions_by_home ON executions (home, priority) WHERE home <> '';

-- When a homeless execution must be looked at: `wake` as it was released, `arrived` when a message waits for it, `due` the
-- earlier of both times. No row: only a message will wake it.
CREATE TABLE wakes (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL,
    priority  INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    wake      INTEGER,
    arrived   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX wakes_by_due ON wakes (priority, due);
CREATE INDEX wakes_by_arrival ON wakes (priority, due) WHERE arrived = 1;

-- Idempotency keys of starts.
CREATE TABLE keys (
    tenant      TEXT NOT NULL,
    workflow    TEXT NOT NULL,
    key         TEXT NOT NULL,
    execution   BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    PRIMARY KEY (tenant, workflow, key)
) STRICT, WITHOUT ROWID;

-- One row per step and execution; `position` orders the feed.
CREATE TABLE journal (
    position  INTEGER PRIMARY KEY,
    execution BLOB NOT NULL,
    first_seq INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    tenant    TEXT NOT NULL,
    body      BLOB NOT NULL,
    UNIQUE (execution, first_seq)
) STRICT;

-- The latest folded state per execution: a cache, never the truth.
CREATE TABLE snapshots (
    execution BLOB NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    fold      INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;

-- Messages on their way. AUTOINCREMENT: a position is never given twice, or a reader that pages by it would miss a message.
CREATE TABLE inbox (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    execution BLOB NOT NULL,
    tenant    TEXT NOT NULL,
    source    TEXT NOT NULL,
    key       TEXT NOT NULL,
    sender    BLOB,
    at        INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX inbox_by_execution ON inbox (execution, position);

-- Every message ever accepted: it outlives the inbox row, so that a repeat is known after the original was consumed.
CREATE TABLE accepted (
    execution BLOB NOT NULL,
    source    TEXT NOT NULL,
    key       TEXT NOT NULL,
    tenant    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (execution, source, key)
) STRICT, WITHOUT ROWID;

-- Definitions as saved.
CREATE TABLE definitions (
    number   INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL,
    digest   BLOB NOT NULL,
    name     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    document BLOB NOT NULL,
    lock     BLOB NOT NULL,
    origin   TEXT NOT NULL,
    UNIQUE (tenant, digest)
) STRICT;
CREATE INDEX definitions_by_name ON definitions (tenant, name, created);

-- Large values by content. `body` NULL: the bytes are the file of that digest in the folder beside the database.
CREATE TABLE blobs (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    size   INTEGER NOT NULL,
    body   BLOB,
    UNIQUE (tenant, digest)
) STRICT;

-- The log of events that workflows emitted.
CREATE TABLE events (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant    TEXT NOT NULL,
    id        TEXT NOT NULL,
    type      TEXT NOT NULL,
    source    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    execution BLOB NOT NULL,
    body      BLOB NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX events_by_tenant ON events (tenant);
CREATE INDEX events_by_type ON events (tenant, type, position);

-- Processes that are homes. Whether one lives is not written here: the lock on its file says so.
CREATE TABLE workers (
    worker  TEXT NOT NULL PRIMARY KEY,
    host    TEXT NOT NULL,
    pid     INTEGER NOT NULL,
    started INTEGER NOT NULL,
    level   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
