-- What each worker was doing when it said so last: JSON, empty when it never did, and when, in microseconds UTC.
ALTER TABLE workers ADD COLUMN load TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;
