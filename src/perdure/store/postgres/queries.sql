-- Every query of the PostgreSQL store: a name, a sentence, the text. Status 6 is the first final one (FIRST_FINAL). Each works on
-- a whole set at once: its arguments are arrays, in the order of execution ids, so that those who meet lock in one order.

-- name: turns
-- Moves executions on, where this home still is their home and nothing was written since, and journals their steps; answers
-- with those it moved. A former home changes nothing.
WITH moved AS (
    UPDATE perdure.executions AS e
    SET seq = t.first_seq + t.count - 1, status = t.status, level = greatest(e.level, t.level), updated = t.at,
        home = CASE WHEN t.release THEN '' ELSE e.home END
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[], $7::smallint[],
                $8::boolean[], $9::bytea[])
        AS t (execution, epoch, first_seq, count, at, level, status, release, body)
    WHERE e.execution = t.execution AND e.epoch = t.epoch AND e.seq = t.first_seq - 1
    RETURNING e.execution, t.first_seq, t.count, t.at, t.level, e.tenant, t.body
), journaled AS (
    INSERT INTO perdure.journal (execution, first_seq, count, at, level, tenant, body)
    SELECT execution, first_seq, count, at, level, tenant, body FROM moved WHERE count > 0
)
SELECT execution FROM moved;

-- name: turn
-- The same for one turn: half of the time, where an execution goes on alone.
WITH moved AS (
    UPDATE perdure.executions
    SET seq = $3::bigint + $4::integer - 1, status = $7::smallint, level = greatest(level, $6::integer), updated = $5::bigint,
        home = CASE WHEN $8::boolean THEN '' ELSE home END
    WHERE execution = $1::bytea AND epoch = $2::bigint AND seq = $3::bigint - 1
    RETURNING execution, tenant
), journaled AS (
    INSERT INTO perdure.journal (execution, first_seq, count, at, level, tenant, body)
    SELECT execution, $3::bigint, $4::integer, $5::bigint, $6::integer, tenant, $9::bytea FROM moved WHERE $4::integer > 0
)
SELECT execution FROM moved;

-- name: turns_and_ends
-- Turns of executions that go on or end, and what an end leaves behind. Answers with those that it moved, and with how many locks
-- came free.
WITH moved AS (
    UPDATE perdure.executions AS e
    SET seq = t.first_seq + t.count - 1, status = t.status, level = greatest(e.level, t.level), updated = t.at,
        home = CASE WHEN t.release THEN '' ELSE e.home END
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[], $7::smallint[],
                $8::boolean[], $9::bytea[])
        AS t (execution, epoch, first_seq, count, at, level, status, release, body)
    WHERE e.execution = t.execution AND e.epoch = t.epoch AND e.seq = t.first_seq - 1
    RETURNING e.execution, t.first_seq, t.count, t.at, t.level, t.status, e.tenant, t.body
), journaled AS (
    INSERT INTO perdure.journal (execution, first_seq, count, at, level, tenant, body)
    SELECT execution, first_seq, count, at, level, tenant, body FROM moved WHERE count > 0
), ended AS (
    SELECT execution FROM moved WHERE status >= 6
), deaf AS (
    DELETE FROM perdure.subscriptions AS s USING ended WHERE s.execution = ended.execution
), asleep AS (
    DELETE FROM perdure.wakes AS w USING ended WHERE w.execution = ended.execution
), unlocked AS (
    DELETE FROM perdure.locks AS l USING ended WHERE l.execution = ended.execution RETURNING 1
)
SELECT execution, (SELECT count(*) FROM unlocked) AS unlocked FROM moved;

-- name: starts_turns_and_ends
-- The same, and before it new executions as their first turns leave them ($10 and on; their journals begin with fact 1). Nobody
-- can have sent anything to a new execution, so one that begins to wait needs no look into its inbox. What is asked of `key` here
-- keeps the planner from going through all that was started for each that was given; a key is never null.
WITH moved AS (
    UPDATE perdure.executions AS e
    SET seq = t.first_seq + t.count - 1, status = t.status, level = greatest(e.level, t.level), updated = t.at,
        home = CASE WHEN t.release THEN '' ELSE e.home END
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[], $7::smallint[],
                $8::boolean[], $9::bytea[])
        AS t (execution, epoch, first_seq, count, at, level, status, release, body)
    WHERE e.execution = t.execution AND e.epoch = t.epoch AND e.seq = t.first_seq - 1
    RETURNING e.execution, t.first_seq, t.count, t.at, t.level, t.status, e.tenant, t.body
), free AS (
    SELECT * FROM unnest($10::bytea[], $11::text[], $12::text[], $13::bytea[], $14::bigint[], $15::smallint[], $16::text[],
                         $17::text[], $18::bytea[],
                         $19::bigint[], $20::integer[], $21::bigint[], $22::integer[], $23::smallint[], $24::bigint[], $25::bytea[])
        AS g (execution, tenant, workflow, digest, created, priority, home, key, fingerprint,
              epoch, count, at, level, status, wake, body)
    WHERE NOT EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution = g.execution)
), taken AS (
    INSERT INTO perdure.keys (tenant, workflow, key, execution, fingerprint)
    SELECT tenant, workflow, key, execution, fingerprint FROM free WHERE key <> ''
    ON CONFLICT (tenant, workflow, key) DO NOTHING RETURNING execution
), started AS (
    INSERT INTO perdure.executions
        (execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, key)
    SELECT execution, tenant, workflow, digest, created, at, priority, status, home, epoch, count, level, key
    FROM free WHERE key = '' OR execution IN (SELECT execution FROM taken)
    ON CONFLICT (execution) DO NOTHING RETURNING execution
), begun AS (
    SELECT * FROM free WHERE key IS NULL OR execution IN (SELECT execution FROM started)
), noted AS (
    INSERT INTO perdure.wakes (execution, due, wake, priority, arrived, tenant)
    SELECT execution, wake, wake, priority, false, tenant FROM begun WHERE status < 6 AND wake IS NOT NULL
), journaled AS (
    INSERT INTO perdure.journal (execution, first_seq, count, at, level, tenant, body)
    SELECT execution, first_seq, count, at, level, tenant, body FROM moved WHERE count > 0
    UNION ALL
    SELECT execution, 1, count, at, level, tenant, body FROM begun WHERE count > 0
), ended AS (
    SELECT execution FROM moved WHERE status >= 6
), deaf AS (
    DELETE FROM perdure.subscriptions AS s USING ended WHERE s.execution = ended.execution
), asleep AS (
    DELETE FROM perdure.wakes AS w USING ended WHERE w.execution = ended.execution
), unlocked AS (
    DELETE FROM perdure.locks AS l USING ended WHERE l.execution = ended.execution RETURNING 1
)
SELECT execution, (SELECT count(*) FROM unlocked) AS unlocked
FROM (SELECT execution FROM moved UNION ALL SELECT execution FROM started) AS written;

-- name: start
-- Adds the rows of new executions and takes their keys; answers with those it added. Neither an id that is there already nor
-- one whose key is taken leaves anything.
WITH given AS (
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::smallint[], $7::text[],
                         $8::bigint[], $9::text[], $10::bytea[])
        AS g (execution, tenant, workflow, digest, created, priority, home, epoch, key, fingerprint)
), free AS (
    SELECT * FROM given AS g WHERE NOT EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution = g.execution)
), taken AS (
    INSERT INTO perdure.keys (tenant, workflow, key, execution, fingerprint)
    SELECT tenant, workflow, key, execution, fingerprint FROM free WHERE key <> ''
    ON CONFLICT (tenant, workflow, key) DO NOTHING RETURNING execution
)
INSERT INTO perdure.executions
    (execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, key)
SELECT execution, tenant, workflow, digest, created, created, priority, 0, home, epoch, 0, 0, key
FROM free WHERE key = '' OR execution IN (SELECT execution FROM taken)
ON CONFLICT (execution) DO NOTHING RETURNING execution;

-- name: meet
-- Locks the rows of all whom a transaction concerns, in one order, before it writes: who sends to an execution and who lets it
-- go cannot miss each other. Answers with their homes.
SELECT execution, home FROM perdure.executions WHERE execution = ANY($1::bytea[]) ORDER BY execution FOR NO KEY UPDATE;

-- name: consume
-- Takes messages out of the inboxes of the executions that handled them; one that is gone is missing in the count.
DELETE FROM perdure.inbox AS i USING unnest($1::bytea[], $2::bigint[]) AS t (execution, position)
WHERE i.execution = t.execution AND i.position = t.position;

-- name: forget_wakes
-- Drops the wake times of executions.
DELETE FROM perdure.wakes WHERE execution = ANY($1::bytea[]);

-- name: remember_wakes
-- Notes when released executions must be looked at: at their wake times, or at once where a message waits already; answers with
-- what is due.
INSERT INTO perdure.wakes (execution, due, wake, priority, arrived, tenant)
SELECT execution, CASE WHEN waits THEN least(coalesce(wake, at), at) ELSE wake END, wake, priority, waits, tenant
FROM (
    SELECT e.execution, e.tenant, e.priority, r.wake, r.at,
           EXISTS (SELECT 1 FROM perdure.inbox AS i WHERE i.execution = e.execution) AS waits
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS r (execution, wake, at)
    JOIN perdure.executions AS e ON e.execution = r.execution WHERE e.status < 6
) AS released
WHERE waits OR wake IS NOT NULL
ON CONFLICT (execution) DO UPDATE SET due = excluded.due, wake = excluded.wake, arrived = excluded.arrived
RETURNING due;

-- name: end_executions
-- Executions that have ended wait for nothing more and hold no locks; the count is that of the locks.
WITH waits AS (DELETE FROM perdure.subscriptions WHERE execution = ANY($1::bytea[])),
     wakes AS (DELETE FROM perdure.wakes WHERE execution = ANY($1::bytea[]))
DELETE FROM perdure.locks WHERE execution = ANY($1::bytea[]);

-- name: save_snapshots
-- Replaces the snapshots of executions; one of an unknown execution is missing in the count.
INSERT INTO perdure.snapshots (execution, seq, fold, tenant, body)
SELECT e.execution, s.seq, s.fold, e.tenant, s.body
FROM unnest($1::bytea[], $2::bigint[], $3::integer[], $4::bytea[]) AS s (execution, seq, fold, body)
JOIN perdure.executions AS e ON e.execution = s.execution
ON CONFLICT (execution) DO UPDATE SET seq = excluded.seq, fold = excluded.fold, body = excluded.body;

-- name: post_tasks
-- Posts tasks, or their repetitions in their places.
INSERT INTO perdure.tasks AS t
    (execution, path, number, tenant, needs, priority, at, due, until, worker, claimed, stop, left_as, body)
SELECT execution, path, number, tenant, needs, priority, at, 0, until, '', 0, '', '', body
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::smallint[], $7::bigint[], $8::bigint[], $9::bytea[])
    AS g (execution, path, number, tenant, needs, priority, at, until, body)
ON CONFLICT (execution, path) DO UPDATE SET
    number = excluded.number, needs = excluded.needs, priority = excluded.priority, at = excluded.at, due = 0,
    until = excluded.until, worker = '', claimed = 0, stop = '', left_as = '', body = excluded.body
WHERE t.number < excluded.number;

-- name: stop_tasks
-- Says that tasks shall stop, and why.
UPDATE perdure.tasks AS t SET stop = g.reason
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::text[]) AS g (execution, path, number, reason)
WHERE t.execution = g.execution AND t.path = g.path AND t.number = g.number AND t.stop = '';

-- name: end_tasks
-- Takes tasks away that are wanted no more.
DELETE FROM perdure.tasks AS t USING unnest($1::bytea[], $2::text[], $3::bigint[]) AS g (execution, path, number)
WHERE t.execution = g.execution AND t.path = g.path AND t.number = g.number;

-- name: task_needs
-- All that tasks which nobody has begun need of a worker, each once.
WITH RECURSIVE each (needs) AS (
    SELECT min(needs) FROM perdure.tasks WHERE worker = '' AND stop = '' AND left_as = ''
    UNION ALL
    SELECT (SELECT min(t.needs) FROM perdure.tasks AS t
            WHERE t.worker = '' AND t.stop = '' AND t.left_as = '' AND t.needs > each.needs)
    FROM each WHERE each.needs IS NOT NULL
)
SELECT needs FROM each WHERE needs IS NOT NULL;

-- name: take_tasks
-- A worker begins tasks with the given needs, by priority, then age, and answers with them; one whose lease has run out begins
-- none. Those that somebody else is about to take are passed over.
WITH chosen AS (
    SELECT c.execution, c.path FROM unnest($2::text[]) AS n (needs) CROSS JOIN LATERAL (
        SELECT t.execution, t.path, t.priority, t.at FROM perdure.tasks AS t
        WHERE t.worker = '' AND t.stop = '' AND t.left_as = '' AND t.needs = n.needs AND t.due <= $3
            AND (t.until = 0 OR t.until > $3)
        ORDER BY t.priority, t.at LIMIT $4 FOR UPDATE SKIP LOCKED
    ) AS c
    WHERE EXISTS (SELECT 1 FROM perdure.workers AS w WHERE w.worker = $1 AND w.beat + w.ttl > perdure.now_us())
    ORDER BY c.priority, c.at, c.execution, c.path LIMIT $4
)
UPDATE perdure.tasks AS t SET worker = $1, claimed = $3 FROM chosen
WHERE t.execution = chosen.execution AND t.path = chosen.path
RETURNING t.execution, t.path, t.number, t.tenant, t.needs, t.priority, t.at, t.until, t.worker, t.claimed, t.stop, t.left_as,
          t.body;

-- name: finish_tasks
-- Takes tasks away that their worker reports of, and answers with them; one that is not its own any more stays.
DELETE FROM perdure.tasks AS t USING unnest($1::bytea[], $2::text[], $3::bigint[]) AS g (execution, path, number)
WHERE t.execution = g.execution AND t.path = g.path AND t.number = g.number AND t.worker = $4 AND t.left_as = ''
RETURNING t.execution, t.path, t.number;

-- name: return_tasks
-- A worker gives tasks back that it has not begun.
UPDATE perdure.tasks AS t SET worker = '', claimed = 0, due = $5
FROM unnest($1::bytea[], $2::text[], $3::bigint[]) AS g (execution, path, number)
WHERE t.execution = g.execution AND t.path = g.path AND t.number = g.number AND t.worker = $4 AND t.left_as = '';

-- name: held_tasks
-- The tasks that a worker has.
SELECT execution, path, number, stop FROM perdure.tasks WHERE worker = $1 AND worker <> '' ORDER BY execution, path;

-- name: tasks
-- All tasks of executions.
SELECT execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body FROM perdure.tasks
WHERE execution = ANY($1::bytea[]) ORDER BY execution, path;

-- name: left_tasks
-- Tasks of executions that nobody will report of: left before, to be stopped or too late before anybody began them, or with
-- workers whose leases have run out, also by $3, the time until which the asker itself was never cut off.
SELECT execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body FROM perdure.tasks AS t
WHERE t.execution = ANY($1::bytea[]) AND (
    t.left_as <> '' OR (t.worker = '' AND (t.stop <> '' OR (t.until > 0 AND t.until <= $2)))
    OR (t.worker <> '' AND NOT EXISTS (
        SELECT 1 FROM perdure.workers AS w WHERE w.worker = t.worker AND w.beat + w.ttl > least(perdure.now_us(), $3)
    ))
)
ORDER BY t.execution, t.path;

-- name: leave_tasks
-- Nobody will report of tasks any more, where they are still with a worker that is dead ($4), or with none and late ($5) or to stop.
UPDATE perdure.tasks AS t SET worker = '',
    left_as = CASE WHEN t.worker <> '' THEN 'lost' WHEN t.stop <> '' THEN 'stopped' ELSE 'expired' END
FROM unnest($1::bytea[], $2::text[], $3::bigint[]) AS g (execution, path, number)
WHERE t.execution = g.execution AND t.path = g.path AND t.number = g.number AND t.left_as = '' AND (
    t.worker = ANY($4::text[]) OR (t.worker = '' AND (t.stop <> '' OR (t.until > 0 AND t.until <= $5)))
);

-- name: waiting_tasks
-- How many tasks with each of the given needs nobody has begun, and since when the oldest waits.
SELECT n.needs, c.waiting, c.since FROM unnest($1::text[]) AS n (needs) CROSS JOIN LATERAL (
    SELECT count(*) AS waiting, min(t.at) AS since FROM perdure.tasks AS t
    WHERE t.worker = '' AND t.stop = '' AND t.left_as = '' AND t.needs = n.needs
) AS c;

-- name: remove_tasks
-- Removes the tasks of executions.
DELETE FROM perdure.tasks WHERE execution = ANY($1::bytea[]);

-- name: accept
-- Takes note of messages and answers with those that are new. Messages to nobody are dropped.
INSERT INTO perdure.accepted (execution, source, key, at, tenant)
SELECT e.execution, m.source, m.key, m.at, e.tenant
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[]) AS m (execution, source, key, at)
JOIN perdure.executions AS e ON e.execution = m.execution
ON CONFLICT (execution, source, key) DO NOTHING RETURNING execution, source, key;

-- name: put
-- Puts messages into inboxes, in the order of their sending.
INSERT INTO perdure.inbox (execution, source, key, at, sender, body, tenant)
SELECT e.execution, m.source, m.key, m.at, m.sender, m.body, e.tenant
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[]) WITH ORDINALITY
    AS m (execution, source, key, at, sender, body, number)
JOIN perdure.executions AS e ON e.execution = m.execution ORDER BY m.number;

-- name: rouse
-- Makes homeless executions due because messages arrived for them.
INSERT INTO perdure.wakes (execution, due, wake, priority, arrived, tenant)
SELECT e.execution, m.at, NULL, e.priority, true, e.tenant
FROM unnest($1::bytea[], $2::bigint[]) AS m (execution, at)
JOIN perdure.executions AS e ON e.execution = m.execution WHERE e.home = '' AND e.status < 6
ON CONFLICT (execution) DO UPDATE SET due = least(wakes.due, excluded.due), arrived = true;

-- name: queue_writers
-- Those who append events of a type go one after another, and apart from those who begin to wait for it: so each of the two
-- sees the other, and positions within a type grow in the order of commits.
SELECT pg_advisory_xact_lock(type) FROM unnest($1::bigint[]) AS t (type);

-- name: queue_readers
-- Those who begin to wait for events of a type go apart from those who append one, but together.
SELECT pg_advisory_xact_lock_shared(type) FROM unnest($1::bigint[]) AS t (type);

-- name: emit
-- Adds events to the log, in their order, and answers with those that are new; a repeat of an id is dropped.
INSERT INTO perdure.events (tenant, id, type, source, subject, at, execution, body)
SELECT tenant, id, type, source, subject, at, execution, body
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bytea[], $8::bytea[]) WITH ORDINALITY
    AS e (tenant, id, type, source, subject, at, execution, body, number)
ORDER BY number
ON CONFLICT (tenant, id) DO NOTHING RETURNING tenant, id;

-- name: subscribe
-- Notes that executions wait for events of types.
INSERT INTO perdure.subscriptions (tenant, type, execution)
SELECT tenant, type, execution FROM unnest($1::text[], $2::text[], $3::bytea[]) AS s (tenant, type, execution)
ON CONFLICT (tenant, type, execution) DO NOTHING;

-- name: unsubscribe
-- Executions wait for events of types no more.
DELETE FROM perdure.subscriptions AS s USING unnest($1::text[], $2::text[], $3::bytea[]) AS g (tenant, type, execution)
WHERE s.tenant = g.tenant AND s.type = g.type AND s.execution = g.execution;

-- name: subscribers
-- The executions that wait for events of these types.
SELECT DISTINCT s.execution FROM unnest($1::text[], $2::text[]) AS g (tenant, type)
JOIN perdure.subscriptions AS s ON s.tenant = g.tenant AND s.type = g.type;

-- name: notify
-- Puts the notices of events into the inbox of every execution that waits for their types and has not accepted them yet.
INSERT INTO perdure.inbox (execution, source, key, at, sender, body, tenant)
SELECT e.execution, 'event', n.id, n.at, n.sender, n.notice, e.tenant
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[]) WITH ORDINALITY
    AS n (tenant, type, id, at, sender, notice, number)
JOIN perdure.subscriptions AS s ON s.tenant = n.tenant AND s.type = n.type
JOIN perdure.executions AS e ON e.execution = s.execution
WHERE e.status < 6 AND NOT EXISTS (
    SELECT 1 FROM perdure.accepted AS a WHERE a.execution = e.execution AND a.source = 'event' AND a.key = n.id
)
ORDER BY n.number;

-- name: rouse_notified
-- Makes the homeless among those due.
INSERT INTO perdure.wakes (execution, due, wake, priority, arrived, tenant)
SELECT e.execution, min(n.at), NULL, e.priority, true, e.tenant
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS n (tenant, type, id, at)
JOIN perdure.subscriptions AS s ON s.tenant = n.tenant AND s.type = n.type
JOIN perdure.executions AS e ON e.execution = s.execution
WHERE e.home = '' AND e.status < 6 AND NOT EXISTS (
    SELECT 1 FROM perdure.accepted AS a WHERE a.execution = e.execution AND a.source = 'event' AND a.key = n.id
)
GROUP BY e.execution
ON CONFLICT (execution) DO UPDATE SET due = least(wakes.due, excluded.due), arrived = true;

-- name: accept_notified
-- Takes note that all of them got the events, last of the three: the other two tell by it who did not.
INSERT INTO perdure.accepted (execution, source, key, at, tenant)
SELECT e.execution, 'event', n.id, n.at, e.tenant
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS n (tenant, type, id, at)
JOIN perdure.subscriptions AS s ON s.tenant = n.tenant AND s.type = n.type
JOIN perdure.executions AS e ON e.execution = s.execution
WHERE e.status < 6
ON CONFLICT (execution, source, key) DO NOTHING;

-- name: may_go_on
-- Which of these executions have not ended; they cannot end before this transaction does.
SELECT execution FROM perdure.executions WHERE execution = ANY($1::bytea[]) AND status < 6
ORDER BY execution FOR NO KEY UPDATE;

-- name: take_locks
-- Takes locks; one that is taken already changes nothing.
INSERT INTO perdure.locks (tenant, key, execution, path)
SELECT tenant, key, execution, path FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS l (tenant, key, execution, path)
ON CONFLICT (tenant, key) DO NOTHING;

-- name: holders
-- Who holds locks.
SELECT l.tenant, l.key, l.execution, l.path FROM unnest($1::text[], $2::text[]) AS g (tenant, key)
JOIN perdure.locks AS l ON l.tenant = g.tenant AND l.key = g.key;

-- name: unlock
-- Lets go of locks, where exactly these instances hold them.
DELETE FROM perdure.locks AS l USING unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS g (tenant, key, execution, path)
WHERE l.tenant = g.tenant AND l.key = g.key AND l.execution = g.execution AND l.path = g.path;

-- name: keyed
-- What an idempotency key stands for.
SELECT execution, fingerprint FROM perdure.keys WHERE tenant = $1 AND workflow = $2 AND key = $3;

-- name: row
-- The row of one execution.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM perdure.executions AS e LEFT JOIN perdure.wakes AS w ON w.execution = e.execution WHERE e.execution = $1;

-- name: rows
-- A tenant's executions, newest first. The empty text added keeps the planner to the primary key, which is in order already.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM perdure.executions AS e LEFT JOIN perdure.wakes AS w ON w.execution = e.execution
WHERE e.execution < $3 AND e.tenant || '' = $1 AND ($2::bigint >> e.status) & 1 = 1
ORDER BY e.execution DESC LIMIT $4;

-- name: rows_of_workflow
-- A workflow's executions, newest first.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM perdure.executions AS e LEFT JOIN perdure.wakes AS w ON w.execution = e.execution
WHERE e.tenant = $1 AND e.workflow = $5 AND e.execution < $3 AND ($2::bigint >> e.status) & 1 = 1
ORDER BY e.execution DESC LIMIT $4;

-- name: unfinished_rows
-- A tenant's executions that have not ended, newest first; of one workflow where it is named.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM perdure.executions AS e LEFT JOIN perdure.wakes AS w ON w.execution = e.execution
WHERE e.unfinished AND e.tenant = $1 AND e.execution < $3 AND ($2::bigint >> e.status) & 1 = 1
    AND ($5::text IS NULL OR e.workflow || '' = $5)
ORDER BY e.execution DESC LIMIT $4;

-- name: unsuccessful_rows
-- A tenant's executions that have ended without success, newest first; of one workflow where it is named.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM perdure.executions AS e LEFT JOIN perdure.wakes AS w ON w.execution = e.execution
WHERE e.unsuccessful AND e.tenant = $1 AND e.execution < $3 AND ($2::bigint >> e.status) & 1 = 1
    AND ($5::text IS NULL OR e.workflow || '' = $5)
ORDER BY e.execution DESC LIMIT $4;

-- name: claimable
-- Whether anything without a home is due or called, which homes are dead, and which workers: what every poll asks. A worker's
-- lease counts as run out where it has by $2 too, the time until which the asker itself was never cut off.
WITH RECURSIVE each (home) AS (
    SELECT min(home) FROM perdure.executions WHERE home <> ''
    UNION ALL
    SELECT (SELECT min(e.home) FROM perdure.executions AS e WHERE e.home <> '' AND e.home > each.home)
    FROM each WHERE each.home IS NOT NULL
)
SELECT EXISTS (SELECT 1 FROM perdure.wakes WHERE arrived AND priority IN (1, 2, 3, 4, 5))
           OR EXISTS (SELECT 1 FROM perdure.wakes WHERE priority IN (1, 2, 3, 4, 5) AND due <= $1) AS waiting,
       ARRAY (
           SELECT home FROM each WHERE home IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM perdure.workers AS w WHERE w.worker = each.home AND w.beat + w.ttl > least(perdure.now_us(), $2)
           )
       ) AS homes,
       ARRAY (SELECT worker FROM perdure.workers WHERE beat + ttl <= least(perdure.now_us(), $2)) AS workers;

-- name: candidates
-- Executions without a living home by priority, then by the time since when they wait: those that are due, those that a message
-- waits for, those of dead homes.
SELECT p.priority, c.since, c.execution
FROM generate_series(1, 5) AS p (priority) CROSS JOIN LATERAL (
    (SELECT w.due AS since, w.execution FROM perdure.wakes AS w JOIN perdure.executions AS e ON e.execution = w.execution
     WHERE w.priority = p.priority AND w.due <= $1 AND e.home = '' AND e.level <= $2 AND e.status < 6
     ORDER BY w.due LIMIT $4)
    UNION
    (SELECT w.due, w.execution FROM perdure.wakes AS w JOIN perdure.executions AS e ON e.execution = w.execution
     WHERE w.arrived AND w.priority = p.priority AND e.home = '' AND e.level <= $2 AND e.status < 6
     ORDER BY w.due LIMIT $4)
    UNION
    (SELECT e.updated, e.execution FROM unnest($3::text[]) AS d (home) JOIN perdure.executions AS e ON e.home = d.home
     WHERE e.home <> '' AND e.priority = p.priority AND e.level <= $2 AND e.status < 6 LIMIT $4)
) AS c
ORDER BY p.priority, c.since, c.execution LIMIT $4;

-- name: wanted
-- Of these executions those that may go on: where they are at home, and since when they wait.
SELECT priority, updated, execution, home FROM perdure.executions
WHERE execution = ANY($1::bytea[]) AND level <= $2 AND status < 6;

-- name: condemn
-- Ends the leases of workers whose leases have run out, for good: no late heartbeat brings them back while they are taken from.
UPDATE perdure.workers SET ttl = 0, process = '' WHERE worker = ANY($1::text[]) AND ttl > 0 AND beat + ttl <= least(perdure.now_us(), $2);

-- name: living
-- Which of these workers live.
SELECT worker FROM perdure.workers WHERE worker = ANY($1::text[]) AND ttl > 0;

-- name: take
-- Makes a worker the home of executions that have none living, and answers with their rows and former homes; the epochs move on,
-- so that the former homes can write no more. Those that somebody else is about to take are passed over.
WITH former AS (
    SELECT e.execution, e.home FROM perdure.executions AS e
    WHERE e.execution = ANY($2::bytea[]) AND e.status < 6 AND e.level <= $3 AND (e.home = '' OR e.home = ANY($4::text[]))
    ORDER BY e.execution FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE perdure.executions AS e SET home = $1, epoch = e.epoch + 1 FROM former WHERE e.execution = former.execution
RETURNING e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, former.home, e.epoch, e.seq,
          e.level, NULL::bigint AS wake, e.key;

-- name: take_these
-- The same for those that are asked for by name: who is about to write them is waited for.
WITH former AS (
    SELECT e.execution, e.home FROM perdure.executions AS e
    WHERE e.execution = ANY($2::bytea[]) AND e.status < 6 AND e.level <= $3 AND (e.home = '' OR e.home = ANY($4::text[]))
    ORDER BY e.execution FOR NO KEY UPDATE
)
UPDATE perdure.executions AS e SET home = $1, epoch = e.epoch + 1 FROM former WHERE e.execution = former.execution
RETURNING e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, former.home, e.epoch, e.seq,
          e.level, NULL::bigint AS wake, e.key;

-- name: still_taken
-- Which of these executions are at home with a worker in the given epochs.
SELECT e.execution FROM unnest($2::bytea[], $3::bigint[]) AS t (execution, epoch)
JOIN perdure.executions AS e ON e.execution = t.execution WHERE e.home = $1 AND e.epoch = t.epoch;

-- name: forget_dead
-- Forgets those of these workers that are the home of nothing which may go on.
DELETE FROM perdure.workers AS w WHERE w.worker = ANY($1::text[]) AND w.ttl = 0
    AND NOT EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.home = w.worker AND e.home <> '' AND e.status < 6)
RETURNING w.worker;

-- name: free_wakes
-- Makes due at once what workers still held.
INSERT INTO perdure.wakes (execution, due, wake, priority, arrived, tenant)
SELECT execution, 0, NULL, priority, false, tenant FROM perdure.executions
WHERE home = ANY($1::text[]) AND home <> '' AND status < 6
ON CONFLICT (execution) DO UPDATE SET due = 0;

-- name: free
-- Lets all that workers held leave them.
UPDATE perdure.executions SET home = '' WHERE home = ANY($1::text[]) AND home <> '';

-- name: journal
-- The steps of an execution, in order; none of one that was removed, though its rows may still be there.
SELECT first_seq, count, at, level, body FROM perdure.journal
WHERE execution = $1 AND first_seq > $2 AND EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution = $1)
ORDER BY first_seq LIMIT $3;

-- name: feed
-- The next steps of all executions, by transactions and only as far as these are complete; and beside each where this store's history
-- stands: its end, which transaction wrote the reader's last row, how far that one's execution has come, and what was removed that
-- the reader was not told of. $3: beyond which fact of $2 rows of transaction $1 come, $7: the first fact of the reader's last row.
SELECT s.history, s.horizon, s.found, s.reached, s.removals, s.gap,
       r.xid::text, r.execution, r.first_seq, r.count, r.at, r.level, r.tenant, r.body, r.stays
FROM (
    SELECT (SELECT value FROM perdure.meta WHERE name = 'incarnation') AS history,
           perdure.horizon()::text AS horizon,
           (SELECT a.xid::text FROM perdure.journal AS a WHERE a.execution = $2 AND a.first_seq = $7) AS found,
           (SELECT e.seq FROM perdure.executions AS e WHERE e.execution = $2) AS reached,
           (SELECT max(number) FROM perdure.removals) AS removals,
           EXISTS (
               SELECT 1 FROM perdure.removals AS g
               WHERE g.number > $5 AND (g.xid, g.execution, g.first_seq) > ($1::text::xid8, $2::bytea, $3::bigint)
                 AND ($6::text IS NULL OR g.tenant = $6)
           ) AS gap
) AS s LEFT JOIN (
    SELECT j.xid, j.execution, j.first_seq, j.count, j.at, j.level, j.tenant, j.body, e.execution IS NOT NULL AS stays
    FROM (
        SELECT n.xid, n.execution, n.first_seq, n.count, n.at, n.level, n.tenant, n.body FROM perdure.journal AS n
        WHERE n.xid >= $1::text::xid8 AND n.xid < perdure.horizon()
          AND (n.xid, n.execution, n.first_seq) > ($1::text::xid8, $2::bytea, $3::bigint)
        ORDER BY n.xid, n.execution, n.first_seq LIMIT $4
    ) AS j LEFT JOIN LATERAL (
        SELECT e.execution FROM perdure.executions AS e WHERE e.execution = j.execution LIMIT 1
    ) AS e ON true
) AS r ON true
ORDER BY r.xid, r.execution, r.first_seq;

-- name: feed_of_execution
-- The next steps of one execution, in order, and beside each where its history stands; no row where it is not there.
SELECT (SELECT value FROM perdure.meta WHERE name = 'incarnation') AS history, e.seq, e.tenant,
       r.first_seq, r.count, r.at, r.level, r.body
FROM perdure.executions AS e LEFT JOIN LATERAL (
    SELECT j.first_seq, j.count, j.at, j.level, j.body FROM perdure.journal AS j
    WHERE j.execution = e.execution AND j.first_seq > $2 ORDER BY j.first_seq LIMIT $3
) AS r ON true
WHERE e.execution = $1 ORDER BY r.first_seq;

-- name: feed_lag
-- The oldest transaction that writes, wherever in the server, if there is one: nothing from its own on can be read in the feed. And
-- since when the first of the steps waits that are on disk. What others do only those may see who have been granted pg_read_all_stats.
SELECT perdure.now_us() AS now,
       (SELECT min(w.at) FROM (
           SELECT j.at FROM perdure.journal AS j WHERE j.xid >= perdure.horizon() ORDER BY j.xid LIMIT 1000
       ) AS w) AS waits,
       coalesce(l.pid, 0) AS pid,
       (extract(epoch FROM coalesce(a.xact_start, p.prepared)) * 1000000)::bigint AS began,
       coalesce(a.usename, p.owner)::text AS "user", coalesce(a.datname, p.database)::text AS database,
       a.application_name AS application, a.state AS state, p.gid AS prepared
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) AS s
JOIN pg_locks AS l ON l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
    AND l.transactionid = (s.xmin::text::bigint & 4294967295)::text::xid
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = l.transactionid
LIMIT 1;

-- name: snapshot
-- The snapshot of an execution; none of one that was removed.
SELECT seq, fold, body FROM perdure.snapshots
WHERE execution = $1 AND EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution = $1);

-- name: arrived
-- Messages for the executions that a worker is the home of, in the order of their arrival.
SELECT i.position, i.execution, i.source, i.key, i.at, i.body, i.sender
FROM perdure.inbox AS i JOIN perdure.executions AS e ON e.execution = i.execution
WHERE i.position > $2 AND e.home = $1 AND e.home <> '' ORDER BY i.position LIMIT $3;

-- name: inbox
-- Messages for one execution, in the order of their arrival; none for one that was removed.
SELECT position, execution, source, key, at, body, sender FROM perdure.inbox
WHERE execution = $1 AND EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution = $1)
ORDER BY position LIMIT $2;

-- name: save_definition
-- Keeps a definition; one that is there already stays as it is. Who saves one goes one after another ($8), so that numbers grow in
-- the order of commits: whoever reads on from a number misses none.
INSERT INTO perdure.definitions (tenant, digest, name, created, document, lock, origin)
SELECT $1::text, $2::bytea, $3::text, $4::bigint, $5::bytea, $6::bytea, $7::text FROM (SELECT pg_advisory_xact_lock($8)) AS line
WHERE NOT EXISTS (SELECT 1 FROM perdure.definitions AS d WHERE d.tenant = $1 AND d.digest = $2)
ON CONFLICT (tenant, digest) DO NOTHING;

-- name: definition
-- One definition.
SELECT digest, tenant, name, created, document, lock, origin FROM perdure.definitions WHERE tenant = $1 AND digest = $2;

-- name: definitions
-- All definitions of a name, newest first.
SELECT digest, tenant, name, created, document, lock, origin FROM perdure.definitions
WHERE tenant = $1 AND name = $2 ORDER BY created DESC, number DESC;

-- name: definitions_since
-- The definitions of all tenants in the order in which they were saved.
SELECT number, digest, tenant, name, created, document, lock, origin FROM perdure.definitions
WHERE number > $1 ORDER BY number LIMIT $2;

-- name: save_blobs
-- Keeps large values; those that are there already are only younger again, unless they are young (600,000,000: ten minutes): so
-- commits that share a value do not wait for each other. It is made young before it counts as there, or it might go in between.
WITH younger AS (
    UPDATE perdure.blobs AS b SET saved = perdure.now_us() FROM unnest($1::text[], $2::bytea[]) AS g (tenant, digest)
    WHERE b.tenant = g.tenant AND b.digest = g.digest AND b.saved < perdure.now_us() - 600000000
    RETURNING b.tenant, b.digest
)
INSERT INTO perdure.blobs (tenant, digest, size, body, saved)
SELECT g.tenant, g.digest, g.size, g.body, perdure.now_us()
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[]) AS g (tenant, digest, size, body)
WHERE NOT EXISTS (SELECT 1 FROM younger AS y WHERE y.tenant = g.tenant AND y.digest = g.digest)
ON CONFLICT (tenant, digest) DO NOTHING;

-- name: blobs
-- Large values by their digests.
SELECT digest, body FROM perdure.blobs WHERE tenant = $1 AND digest = ANY($2::bytea[]);

-- name: first_event_since
-- Where in the log the first event of a type from a time on stands. The nought added keeps the planner to the index by time.
SELECT min(position + 0) AS position FROM perdure.events WHERE tenant = $1 AND type = $2 AND at >= $3;

-- name: events
-- The event log of a tenant, in order.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM perdure.events
WHERE tenant = $1 AND position > $2 AND at >= $3 ORDER BY position LIMIT $4;

-- name: events_of_type
-- The events of one type in the log of a tenant, in order. The nought keeps the planner to positions, which are in order.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM perdure.events
WHERE tenant = $1 AND type = $5 AND position > $2 AND at + 0 >= $3 ORDER BY position LIMIT $4;

-- name: latest_events
-- The end of the event log of a tenant, the newest first.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM perdure.events
WHERE tenant = $1 AND position > $2 AND at >= $3 ORDER BY position DESC LIMIT $4;

-- name: latest_events_of_type
-- The last events of one type in the log of a tenant, the newest first. The nought as above.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM perdure.events
WHERE tenant = $1 AND type = $5 AND position > $2 AND at + 0 >= $3 ORDER BY position DESC LIMIT $4;

-- name: register
-- Makes a worker known under a lease, or known anew to itself; answers with nothing while another living process has the name.
INSERT INTO perdure.workers AS w (worker, process, host, pid, started, level, ttl, labels, beat)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, perdure.now_us())
ON CONFLICT (worker) DO UPDATE SET process = excluded.process, host = excluded.host, pid = excluded.pid,
    started = excluded.started, level = excluded.level, ttl = excluded.ttl, beat = excluded.beat,
    labels = excluded.labels, load = ''
WHERE w.process = excluded.process OR w.beat + w.ttl <= perdure.now_us()
RETURNING beat;

-- name: beat
-- Renews the leases of a process's workers, with what they are doing; answers with those that are still its own, and the time.
UPDATE perdure.workers AS w SET beat = perdure.now_us(), load = said.load
FROM unnest($1::text[], $3::text[]) AS said (worker, load)
WHERE w.worker = said.worker AND w.process = $2 RETURNING w.worker, w.beat;

-- name: end_leases
-- Ends the leases of a process's workers: what they hold is that of the dead.
UPDATE perdure.workers SET ttl = 0, process = '' WHERE process = $1;

-- name: drop_worker
-- Forgets a worker of this process.
DELETE FROM perdure.workers WHERE worker = $1 AND process = $2;

-- name: workers
-- All known workers, and which of them live.
SELECT worker, host, pid, started, level, beat + ttl > perdure.now_us() AS alive, beat, load, labels
FROM perdure.workers ORDER BY worker;

-- name: ring
-- Tells the other workers that something is there for them; the text says who rings.
SELECT pg_notify('perdure', $1);

-- name: weeks
-- The partitions of the journal, by name.
SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'perdure.journal'::regclass ORDER BY c.relname;

-- name: look_for_finished
-- The next executions in the order of their beginning. The first column: are they final, and since before a time?
SELECT status >= 6 AND updated < $1 AS had_ended,
       execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, NULL::bigint AS wake, key
FROM perdure.executions WHERE execution > $2 AND execution < $3 ORDER BY execution LIMIT $4;

-- name: remove
-- Removes the rows of those executions that are final, and answers with what their other rows are found by.
WITH ended AS (
    SELECT e.execution FROM perdure.executions AS e WHERE e.execution = ANY($1::bytea[]) AND e.status >= 6
    ORDER BY e.execution FOR UPDATE
)
DELETE FROM perdure.executions AS e USING ended WHERE e.execution = ended.execution
RETURNING e.execution, e.tenant, e.workflow, e.key;

-- name: remove_keys
-- Removes idempotency keys with the executions that they stand for.
DELETE FROM perdure.keys AS k USING unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS g (tenant, workflow, key, execution)
WHERE k.tenant = g.tenant AND k.workflow = g.workflow AND k.key = g.key AND k.execution = g.execution;

-- name: leave_behind
-- Notes that executions were removed whose other rows are still there, and in how many microseconds these must be cleared away.
INSERT INTO perdure.leftovers (execution, tenant, due)
SELECT execution, tenant, perdure.now_us() + wait FROM unnest($1::bytea[], $2::text[], $3::bigint[]) AS l (execution, tenant, wait)
ON CONFLICT (execution) DO NOTHING;

-- name: note_removals
-- Notes up to where removed executions reach in the feed. Who notes goes one after another ($3), so that numbers grow in the order of
-- commits: a reader who was told of one was told of all before it.
INSERT INTO perdure.removals (tenant, xid, execution, first_seq)
SELECT g.tenant, g.xid, g.execution, g.first_seq
FROM (SELECT pg_advisory_xact_lock($3)) AS line, (
    SELECT DISTINCT ON (l.tenant) l.tenant, t.xid, t.execution, t.first_seq
    FROM unnest($1::bytea[], $2::text[]) AS l (execution, tenant) CROSS JOIN LATERAL (
        SELECT j.xid, j.execution, j.first_seq FROM perdure.journal AS j
        WHERE j.execution = l.execution ORDER BY j.first_seq DESC LIMIT 1
    ) AS t ORDER BY l.tenant, t.xid DESC, t.execution DESC, t.first_seq DESC
) AS g;

-- name: forget_removals
-- Removals that a later one covers tell a reader nothing more.
DELETE FROM perdure.removals AS r
WHERE EXISTS (
    SELECT 1 FROM perdure.removals AS n WHERE n.tenant = r.tenant AND n.number > r.number
        AND (n.xid, n.execution, n.first_seq) >= (r.xid, r.execution, r.first_seq)
);

-- name: leftovers
-- Executions whose rows must be cleared away, the longest overdue first.
SELECT execution FROM perdure.leftovers WHERE due <= (SELECT perdure.now_us()) ORDER BY due LIMIT $1;

-- name: clear_journal
-- Clears away journal rows of removed executions, at most so many.
DELETE FROM perdure.journal AS j USING (
    SELECT l.execution, r.first_seq FROM unnest($1::bytea[]) AS l (execution) CROSS JOIN LATERAL (
        SELECT n.first_seq FROM perdure.journal AS n WHERE n.execution = l.execution ORDER BY n.first_seq LIMIT $2
    ) AS r LIMIT $2
) AS g WHERE j.execution = g.execution AND j.first_seq = g.first_seq;

-- name: clear_snapshots
-- Clears away snapshots of removed executions, at most so many.
DELETE FROM perdure.snapshots AS s USING (
    SELECT execution FROM perdure.snapshots WHERE execution = ANY($1::bytea[]) LIMIT $2
) AS g WHERE s.execution = g.execution;

-- name: clear_inbox
-- Clears away messages that nobody will take in, at most so many.
DELETE FROM perdure.inbox AS i USING (
    SELECT l.execution, r.position FROM unnest($1::bytea[]) AS l (execution) CROSS JOIN LATERAL (
        SELECT n.position FROM perdure.inbox AS n WHERE n.execution = l.execution ORDER BY n.position LIMIT $2
    ) AS r LIMIT $2
) AS g WHERE i.execution = g.execution AND i.position = g.position;

-- name: clear_accepted
-- Clears away what was kept to know repeats of messages by, at most so many.
DELETE FROM perdure.accepted AS a USING (
    SELECT l.execution, r.source, r.key FROM unnest($1::bytea[]) AS l (execution) CROSS JOIN LATERAL (
        SELECT n.source, n.key FROM perdure.accepted AS n WHERE n.execution = l.execution ORDER BY n.source, n.key LIMIT $2
    ) AS r LIMIT $2
) AS g WHERE a.execution = g.execution AND a.source = g.source AND a.key = g.key;

-- name: cleared
-- Of these executions nothing is left.
DELETE FROM perdure.leftovers WHERE execution = ANY($1::bytea[]);

-- name: forget_leftovers
-- What removed executions between two ids have left behind goes with their week: it needs no clearing. At most so many.
DELETE FROM perdure.leftovers AS l USING (
    SELECT execution FROM perdure.leftovers WHERE execution >= $1 AND execution < $2 ORDER BY execution LIMIT $3
) AS g WHERE l.execution = g.execution;

-- name: empty
-- Which of these ranges of ids, by number, have no execution.
SELECT r.number FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS r (low, high, number)
WHERE NOT EXISTS (SELECT 1 FROM perdure.executions AS e WHERE e.execution >= r.low AND e.execution < r.high)
ORDER BY r.number;

-- name: forget_events
-- Drops old ones among the first events of the log.
DELETE FROM perdure.events
WHERE position = ANY (ARRAY (SELECT position FROM perdure.events ORDER BY position LIMIT $2)) AND at < $1;

-- name: bodies_of_inbox
-- Messages by execution, in order: what names large values. The last column: was the execution not removed?
SELECT b.execution, b.position AS number, b.body, r.execution IS NOT NULL AS stays
FROM (
    SELECT i.execution, i.position, i.body FROM perdure.inbox AS i
    WHERE i.execution >= $1 AND (i.execution, i.position) > ($1, $2) ORDER BY i.execution, i.position LIMIT $3
) AS b LEFT JOIN LATERAL (
    SELECT e.execution FROM perdure.executions AS e WHERE e.execution = b.execution LIMIT 1
) AS r ON true ORDER BY b.execution, b.position;

-- name: bodies_of_journal
-- Steps by execution, in order: what names large values. The last column as above.
SELECT b.execution, b.first_seq AS number, b.body, r.execution IS NOT NULL AS stays
FROM (
    SELECT j.execution, j.first_seq, j.body FROM perdure.journal AS j
    WHERE j.execution >= $1 AND (j.execution, j.first_seq) > ($1, $2) ORDER BY j.execution, j.first_seq LIMIT $3
) AS b LEFT JOIN LATERAL (
    SELECT e.execution FROM perdure.executions AS e WHERE e.execution = b.execution LIMIT 1
) AS r ON true ORDER BY b.execution, b.first_seq;

-- name: bodies_of_events
-- Events, in order: what names large values. They are no execution's ($1), and all of them stay.
SELECT $1::bytea AS execution, position AS number, body, true AS stays
FROM perdure.events WHERE position > $2 ORDER BY position LIMIT $3;

-- name: old_blobs
-- Large values that were not saved for so many microseconds, the longest ago first.
SELECT saved, tenant, digest, size FROM perdure.blobs
WHERE (saved, tenant, digest) > ($1, $2, $3) AND saved <= (SELECT perdure.now_us() - $4)
ORDER BY saved, tenant, digest LIMIT $5;

-- name: drop_blobs
-- Drops those of these large values that were not saved for so many microseconds, and answers with them.
DELETE FROM perdure.blobs AS b USING unnest($1::text[], $2::bytea[]) AS g (tenant, digest)
WHERE b.tenant = g.tenant AND b.digest = g.digest AND b.saved <= perdure.now_us() - $3
RETURNING b.tenant, b.digest, b.size;

-- name: lease
-- Takes a chore, or goes on with it; while another holder has it this changes nothing, which the count tells.
INSERT INTO perdure.leases AS l (name, holder, until) VALUES ($1, $2, $4)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE l.holder = excluded.holder OR l.until <= $3;

-- name: space
-- Bytes that all tables take up, with their indexes and what lies out of line.
SELECT sum(pg_total_relation_size(oid))::bigint AS total FROM pg_class
WHERE relnamespace = 'perdure'::regnamespace AND relkind = 'r';

-- name: damaged_blobs
-- How many large values are not what their digests say.
SELECT count(*) FROM perdure.blobs WHERE sha256(body) <> digest OR octet_length(body) <> size;
