-- What is left when much has ended, what is removed when its time is over, and who does it.

-- Which executions have not ended, and which have ended without success: few beside those that have, so whoever looks for them
-- need not look at all. Columns of their own, since an index that asks for the status itself would have to be written by every step
-- that changes it; these change where an execution ends, and never before.
ALTER TABLE perdure.executions
    ADD COLUMN unfinished   boolean NOT NULL GENERATED ALWAYS AS (status < 6) STORED,
    ADD COLUMN unsuccessful boolean NOT NULL GENERATED ALWAYS AS (status > 6) STORED;
CREATE INDEX executions_unfinished ON perdure.executions (tenant, execution) WHERE unfinished;
CREATE INDEX executions_unsuccessful ON perdure.executions (tenant, execution) WHERE unsuccessful;

-- Executions that were removed and have left rows behind. Most go with their week; from `due` on they are cleared away one by one.
CREATE TABLE perdure.leftovers (
    execution bytea PRIMARY KEY,
    due       bigint NOT NULL,
    tenant    text COLLATE "C" NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX leftovers_by_due ON perdure.leftovers (due);

-- Chores that one process at a time has, until a moment.
CREATE TABLE perdure.leases (
    name   text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    until  bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500);

-- When a large value was last saved: a young one may be named by a step that is not written yet.
ALTER TABLE perdure.blobs ADD COLUMN saved bigint NOT NULL DEFAULT 0;
CREATE INDEX blobs_by_age ON perdure.blobs (saved, tenant, digest);
