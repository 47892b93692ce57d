-- What each worker was doing at its last heartbeat: JSON, empty when it has not said yet.
ALTER TABLE perdure.workers ADD COLUMN load text NOT NULL DEFAULT '';
