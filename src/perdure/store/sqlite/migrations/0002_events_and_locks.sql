-- Who waits for events, and who holds a lock. An event from outside has an empty blob for its execution.

-- The executions that wait for events of a type. An event finds them by the key, an execution that ends by the index.
CREATE TABLE subscriptions (
    tenant    TEXT NOT NULL,
    type      TEXT NOT NULL,
    execution BLOB NOT NULL,
    PRIMARY KEY (tenant, type, execution)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_by_execution ON subscriptions (execution);

-- Named mutexes that are held; a free one has no row.
CREATE TABLE locks (
    tenant    TEXT NOT NULL,
    key       TEXT NOT NULL,
    execution BLOB NOT NULL,
    path      TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX locks_by_execution ON locks (execution);

-- Times do not quite grow with positions: several processes write, each by its own clock.
CREATE INDEX events_by_time ON events (tenant, type, at);
