-- What whoever reads the feed must know beside the journal: that something was removed before they had read it.

-- Removals by number: the last position of what went with each. One that a later removal covers is dropped, so these are few.
-- AUTOINCREMENT: a number that a reader was told of is never given again.
CREATE TABLE removals (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant   TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;
CREATE INDEX removals_by_position ON removals (tenant, position);
