-- Attempts that another worker than the home carries out, and what workers have that others may not.

-- One row is one task: an attempt of the instance at `path`, by `number` told from those before. It waits while `worker` is empty:
-- begun not before `due`, nor from `until` on (0: always), nor where it is to `stop`. `left_as`: why nobody will report of it.
CREATE TABLE perdure.tasks (
    execution bytea NOT NULL,
    number    bigint NOT NULL,
    at        bigint NOT NULL,
    due       bigint NOT NULL,
    until     bigint NOT NULL,
    claimed   bigint NOT NULL,
    priority  smallint NOT NULL CHECK (priority BETWEEN 1 AND 5),
    path      text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    needs     text COLLATE "C" NOT NULL,
    worker    text COLLATE "C" NOT NULL,
    stop      text NOT NULL,
    left_as   text COLLATE "C" NOT NULL,
    body      bytea NOT NULL,
    PRIMARY KEY (execution, path)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX tasks_to_begin ON perdure.tasks (needs, priority, at) WHERE worker = '' AND stop = '' AND left_as = '';
CREATE INDEX tasks_by_worker ON perdure.tasks (worker) WHERE worker <> '';

-- The labels of each worker, as one text: `gpu=true,region=eu`.
ALTER TABLE perdure.workers ADD COLUMN labels text NOT NULL DEFAULT '';
