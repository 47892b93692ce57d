-- The first schema. Times are microseconds UTC, ids 16 bytes of UUIDv7 (they grow, so rows land at the end of their trees),
-- bodies are never read by SQL. Where a key is made of names that people choose, the tenant leads it; an execution's id is
-- unique by itself. Texts sort by their bytes, whatever the database's own rules are.

-- The time by the one clock that all workers share.
CREATE FUNCTION perdure.now_us() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint';

-- What this database is: its incarnation, which feed cursors carry, since a restored copy is another history.
CREATE TABLE perdure.meta (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
INSERT INTO perdure.meta (name, value) VALUES ('incarnation', uuid_send(gen_random_uuid()));

-- The narrow row of an execution. No index holds a column that a step changes, and pages keep room for the next version of
-- their rows: so a step rewrites its row in its page and leaves no work to the indexes, or to the vacuum.
CREATE TABLE perdure.executions (
    execution bytea PRIMARY KEY,
    created   bigint NOT NULL,
    updated   bigint NOT NULL,
    epoch     bigint NOT NULL,
    seq       bigint NOT NULL,
    level     integer NOT NULL,
    status    smallint NOT NULL,
    priority  smallint NOT NULL CHECK (priority BETWEEN 1 AND 5),
    home      text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    workflow  text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    digest    bytea NOT NULL
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1
);
CREATE INDEX executions_by_workflow ON perdure.executions (tenant, workflow, execution);
CREATE INDEX executions_by_home ON perdure.executions (home, priority) WHERE home <> '';

-- When a homeless execution must be looked at: `wake` as it was released, `arrived` when a message waits for it, `due` the
-- earlier of both times. No row: only a message will wake it. Rows come and go, so the vacuum must come often.
CREATE TABLE perdure.wakes (
    execution bytea PRIMARY KEY,
    due       bigint NOT NULL,
    wake      bigint,
    priority  smallint NOT NULL,
    arrived   boolean NOT NULL,
    tenant    text COLLATE "C" NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX wakes_by_due ON perdure.wakes (priority, due);
CREATE INDEX wakes_by_arrival ON perdure.wakes (priority, due) WHERE arrived;

-- Idempotency keys of starts.
CREATE TABLE perdure.keys (
    tenant      text COLLATE "C" NOT NULL,
    workflow    text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    execution   bytea NOT NULL,
    fingerprint bytea NOT NULL,
    PRIMARY KEY (tenant, workflow, key)
);

-- One row per step and execution. `xid` orders the feed: what has committed below the oldest running transaction is complete.
-- Bodies are packed already: to compress them costs more than it saves.
CREATE TABLE perdure.journal (
    execution bytea NOT NULL,
    first_seq bigint NOT NULL,
    at        bigint NOT NULL,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    count     integer NOT NULL,
    level     integer NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    body      bytea NOT NULL,
    PRIMARY KEY (execution, first_seq)
) PARTITION BY RANGE (execution);
ALTER TABLE perdure.journal ALTER COLUMN body SET STORAGE EXTERNAL;

-- The latest folded state per execution: a cache, never the truth.
CREATE TABLE perdure.snapshots (
    execution bytea PRIMARY KEY,
    seq       bigint NOT NULL,
    fold      integer NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    body      bytea NOT NULL
) PARTITION BY RANGE (execution);

-- Messages on their way. A position is never given twice, or a reader that pages by it would miss a message.
CREATE SEQUENCE perdure.inbox_positions;
CREATE TABLE perdure.inbox (
    execution bytea NOT NULL,
    position  bigint NOT NULL DEFAULT nextval('perdure.inbox_positions'),
    at        bigint NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    source    text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    sender    bytea,
    body      bytea NOT NULL,
    PRIMARY KEY (execution, position)
) PARTITION BY RANGE (execution);
CREATE INDEX inbox_by_position ON perdure.inbox (position);

-- Every message ever accepted: it outlives the inbox row, so that a repeat is known after the original was consumed.
CREATE TABLE perdure.accepted (
    execution bytea NOT NULL,
    source    text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    at        bigint NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    PRIMARY KEY (execution, source, key)
) PARTITION BY RANGE (execution);

-- What no week has been made for lands here, and is moved once its week is made (partitions.py).
CREATE TABLE perdure.journal_other PARTITION OF perdure.journal DEFAULT;
CREATE TABLE perdure.snapshots_other PARTITION OF perdure.snapshots DEFAULT;
CREATE TABLE perdure.inbox_other PARTITION OF perdure.inbox DEFAULT;
CREATE TABLE perdure.accepted_other PARTITION OF perdure.accepted DEFAULT;

-- Definitions as saved.
CREATE TABLE perdure.definitions (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant   text COLLATE "C" NOT NULL,
    digest   bytea NOT NULL,
    name     text COLLATE "C" NOT NULL,
    created  bigint NOT NULL,
    document bytea NOT NULL,
    lock     bytea NOT NULL,
    origin   text NOT NULL,
    UNIQUE (tenant, digest)
);
CREATE INDEX definitions_by_name ON perdure.definitions (tenant, name, created);

-- Large values by content.
CREATE TABLE perdure.blobs (
    tenant text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    size   bigint NOT NULL,
    body   bytea NOT NULL,
    PRIMARY KEY (tenant, digest)
);
ALTER TABLE perdure.blobs ALTER COLUMN body SET STORAGE EXTERNAL;

-- The log of events that workflows emitted, or that came from outside (then `execution` is empty).
CREATE TABLE perdure.events (
    position  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        bigint NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    id        text COLLATE "C" NOT NULL,
    type      text COLLATE "C" NOT NULL,
    source    text NOT NULL,
    subject   text NOT NULL,
    execution bytea NOT NULL,
    body      bytea NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX events_by_tenant ON perdure.events (tenant, position);
CREATE INDEX events_by_type ON perdure.events (tenant, type, position);
-- Times do not quite grow with positions: several workers write, each by its own clock.
CREATE INDEX events_by_time ON perdure.events (tenant, type, at);

-- The executions that wait for events of a type. An event finds them by the key, an execution that ends by the index.
CREATE TABLE perdure.subscriptions (
    tenant    text COLLATE "C" NOT NULL,
    type      text COLLATE "C" NOT NULL,
    execution bytea NOT NULL,
    PRIMARY KEY (tenant, type, execution)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX subscriptions_by_execution ON perdure.subscriptions (execution);

-- Named mutexes that are held; a free one has no row.
CREATE TABLE perdure.locks (
    tenant    text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    execution bytea NOT NULL,
    path      text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX locks_by_execution ON perdure.locks (execution);

-- Processes that are homes, each under a lease: it lives while `beat` + `ttl` lies ahead. `process` is the one registration
-- that may renew it. One small page that is rewritten all the time.
CREATE TABLE perdure.workers (
    worker  text COLLATE "C" PRIMARY KEY,
    process bytea NOT NULL,
    host    text NOT NULL,
    pid     bigint NOT NULL,
    started bigint NOT NULL,
    level   integer NOT NULL,
    beat    bigint NOT NULL,
    ttl     bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500);
