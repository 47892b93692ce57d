-- What whoever reads the feed needs beside the journal: its rows by the transactions that wrote them, up to where that is
-- complete, and that something was removed before a reader had read it.

-- Rows of one transaction share an entry of the tree, which grows at its end.
CREATE INDEX journal_by_xid ON perdure.journal (xid);

-- Every transaction below this has ended, so nothing can appear there any more. A store that was restored from a copy counts on
-- from where the copy's rows end (history.py).
CREATE FUNCTION perdure.horizon() RETURNS xid8 LANGUAGE sql STABLE AS 'SELECT pg_snapshot_xmin(pg_current_snapshot())';

-- Removals by number: the last row of the feed that went with each. One that a later removal covers is dropped, so these are few.
CREATE TABLE perdure.removals (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid       xid8 NOT NULL,
    first_seq bigint NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    execution bytea NOT NULL
);
