-- Every query of the embedded store: a name, a sentence, the text. Status 6 is the first final one (FIRST_FINAL).

-- name: take_keys
-- Takes idempotency keys; one that is taken already changes nothing, which the count tells.
INSERT INTO keys (tenant, workflow, key, execution, fingerprint) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: start
-- Adds the row of a new execution as its first turn leaves it; an id that is there already changes nothing, which the count
-- tells.
INSERT INTO executions (execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (execution) DO NOTHING;

-- name: begin
-- An execution is among those that have not ended.
INSERT INTO unfinished (execution, tenant) VALUES (?, ?);

-- name: end
-- Executions (one array of ids) have ended.
DELETE FROM unfinished WHERE execution IN carray(?);

-- name: end_without_success
-- An execution is among those that have ended without success.
INSERT INTO unsuccessful (execution, tenant) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: fence
-- Moves an execution on, if this home still is its home and nothing was written since: else nothing changes, which the count
-- tells.
UPDATE executions SET seq = ?, status = ?, level = max(level, ?), updated = ? WHERE execution = ? AND epoch = ? AND seq = ?;

-- name: append
-- Adds the journal row of a step.
INSERT INTO journal (execution, first_seq, count, at, level, tenant, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: consume
-- Takes a message out of the inbox of the execution that handled it; one that is gone changes nothing, which the count tells.
DELETE FROM inbox WHERE position = ? AND execution = ?;

-- name: fence_and_release
-- The same for an execution that leaves its home. A statement of its own, since `home` is indexed and few turns change it.
UPDATE executions SET seq = ?, status = ?, level = max(level, ?), updated = ?, home = ''
WHERE execution = ? AND epoch = ? AND seq = ?;

-- name: forget_wake
-- Drops the wake time of an execution.
DELETE FROM wakes WHERE execution = ?;

-- name: remember_wake
-- Notes when a released execution must be looked at: at its wake time, or at once when a message waits for it already.
INSERT INTO wakes (execution, tenant, priority, due, wake, arrived)
SELECT execution, tenant, priority, iif(waits, min(coalesce(:wake, :at), :at), :wake), :wake, waits
FROM (
    SELECT execution, tenant, priority, EXISTS (SELECT 1 FROM inbox WHERE inbox.execution = :execution) AS waits
    FROM executions WHERE execution = :execution AND status < 6
)
WHERE waits OR :wake IS NOT NULL
ON CONFLICT (execution) DO UPDATE SET due = excluded.due, wake = excluded.wake, arrived = excluded.arrived;

-- name: rouse
-- Makes a homeless execution due because a message arrived for it.
INSERT INTO wakes (execution, tenant, priority, due, wake, arrived)
SELECT execution, tenant, priority, :at, NULL, 1 FROM executions WHERE execution = :execution AND home = '' AND status < 6
ON CONFLICT (execution) DO UPDATE SET due = min(due, excluded.due), arrived = 1;

-- name: save_snapshot
-- Replaces the snapshot of an execution.
INSERT INTO snapshots (execution, tenant, seq, fold, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (execution) DO UPDATE SET seq = excluded.seq, fold = excluded.fold, body = excluded.body;

-- name: emit
-- Adds an event to the log and answers with its id if it is new; a repeat of an id is dropped.
INSERT INTO events (tenant, id, type, source, subject, at, execution, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, id) DO NOTHING RETURNING tenant, id;

-- name: subscribe
-- Notes that an execution waits for events of a type.
INSERT INTO subscriptions (tenant, type, execution) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- name: unsubscribe
-- An execution waits for events of a type no more.
DELETE FROM subscriptions WHERE tenant = ? AND type = ? AND execution = ?;

-- name: awaited
-- The type itself if anybody waits for its events: what most commits with events ask, to hear that nobody does.
SELECT :tenant, :type WHERE EXISTS (SELECT 1 FROM subscriptions WHERE tenant = :tenant AND type = :type);

-- name: notify
-- Puts the notice of an event into the inbox of every execution that waits for its type and has not accepted it yet.
INSERT INTO inbox (execution, tenant, source, key, sender, at, body)
SELECT e.execution, e.tenant, 'event', :id, :sender, :at, :notice
FROM subscriptions AS s CROSS JOIN executions AS e USING (execution)
WHERE s.tenant = :tenant AND s.type = :type AND e.status < 6
  AND NOT EXISTS (SELECT 1 FROM accepted AS a WHERE a.execution = e.execution AND a.source = 'event' AND a.key = :id);

-- name: rouse_notified
-- Makes the homeless among those due.
INSERT INTO wakes (execution, tenant, priority, due, wake, arrived)
SELECT e.execution, e.tenant, e.priority, :at, NULL, 1
FROM subscriptions AS s CROSS JOIN executions AS e USING (execution)
WHERE s.tenant = :tenant AND s.type = :type AND e.home = '' AND e.status < 6
  AND NOT EXISTS (SELECT 1 FROM accepted AS a WHERE a.execution = e.execution AND a.source = 'event' AND a.key = :id)
ON CONFLICT (execution) DO UPDATE SET due = min(due, excluded.due), arrived = 1;

-- name: accept_notified
-- Takes note that all of them got the event, last of the three: the other two tell by it who did not.
INSERT INTO accepted (execution, source, key, tenant, at)
SELECT e.execution, 'event', :id, e.tenant, :at
FROM subscriptions AS s CROSS JOIN executions AS e USING (execution)
WHERE s.tenant = :tenant AND s.type = :type AND e.status < 6
ON CONFLICT (execution, source, key) DO NOTHING;

-- name: end_subscriptions
-- Executions that have ended (one array of ids) wait for nothing more.
DELETE FROM subscriptions WHERE execution IN carray(?);

-- name: take_lock
-- Takes a lock for an execution that may go on; one that is taken already changes nothing.
INSERT INTO locks (tenant, key, execution, path)
SELECT :tenant, :key, execution, :path FROM executions WHERE execution = :execution AND status < 6
ON CONFLICT (tenant, key) DO NOTHING;

-- name: lock
-- Who holds a lock.
SELECT tenant, key, execution, path FROM locks WHERE tenant = ? AND key = ?;

-- name: unlock
-- Lets go of a lock, if exactly this instance holds it.
DELETE FROM locks WHERE tenant = ? AND key = ? AND execution = ? AND path = ?;

-- name: end_locks
-- Executions that have ended (one array of ids) hold no locks any more.
DELETE FROM locks WHERE execution IN carray(?);

-- name: post_task
-- Posts a task, or its repetition in its place.
INSERT INTO tasks
    (execution, path, number, tenant, needs, priority, at, due, until, worker, claimed, stop, left_as, body)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, '', 0, '', '', ?)
ON CONFLICT (execution, path) DO UPDATE SET
    number = excluded.number, needs = excluded.needs, priority = excluded.priority, at = excluded.at, due = 0,
    until = excluded.until, worker = '', claimed = 0, stop = '', left_as = '', body = excluded.body
WHERE number < excluded.number;

-- name: stop_task
-- Says that a task shall stop, and why.
UPDATE tasks SET stop = ? WHERE execution = ? AND path = ? AND number = ? AND stop = '';

-- name: end_task
-- Takes a task away that is wanted no more.
DELETE FROM tasks WHERE execution = ? AND path = ? AND number = ?;

-- name: task_needs
-- All that tasks which nobody has begun need of a worker, each once.
WITH RECURSIVE each (needs) AS (
    SELECT min(needs) FROM tasks WHERE worker = '' AND stop = '' AND left_as = ''
    UNION ALL
    SELECT (SELECT min(needs) FROM tasks WHERE worker = '' AND stop = '' AND left_as = '' AND needs > each.needs)
    FROM each WHERE each.needs IS NOT NULL
)
SELECT needs FROM each WHERE needs IS NOT NULL;

-- name: tasks_to_begin
-- Tasks with the given needs that may be begun, by priority, then age.
SELECT execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body FROM tasks
WHERE worker = '' AND stop = '' AND left_as = '' AND needs = :needs AND due <= :now AND (until = 0 OR until > :now)
ORDER BY priority, at LIMIT :limit;

-- name: take_task
-- A worker begins a task.
UPDATE tasks SET worker = ?, claimed = ? WHERE execution = ? AND path = ?;

-- name: finish_task
-- Takes a task away that its worker reports of, and answers with it; one that is not its own any more stays.
DELETE FROM tasks WHERE execution = ? AND path = ? AND number = ? AND worker = ? AND left_as = ''
RETURNING execution, path, number;

-- name: return_task
-- A worker gives a task back that it has not begun.
UPDATE tasks SET worker = '', claimed = 0, due = ? WHERE execution = ? AND path = ? AND number = ? AND worker = ?;

-- name: held_tasks
-- The tasks that a worker has.
SELECT execution, path, number, stop FROM tasks WHERE worker = ? AND worker <> '';

-- name: task_workers
-- Every worker that has a task, each once.
WITH RECURSIVE each (worker) AS (
    SELECT min(worker) FROM tasks WHERE worker <> ''
    UNION ALL
    SELECT (SELECT min(worker) FROM tasks WHERE worker <> '' AND worker > each.worker) FROM each WHERE each.worker IS NOT NULL
)
SELECT worker FROM each WHERE worker IS NOT NULL;

-- name: tasks
-- All tasks of executions (one array of ids).
SELECT execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body FROM tasks
WHERE execution IN carray(?);

-- name: left_tasks
-- Tasks of executions (one array of ids) that nobody will report of: left before, to be stopped or too late before anybody
-- began them, or with workers (one array) that are dead.
SELECT execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body FROM tasks
WHERE execution IN carray(:executions)
  AND (left_as <> '' OR worker <> '' AND worker IN carray(:dead)
       OR worker = '' AND (stop <> '' OR until > 0 AND until <= :now));

-- name: leave_task
-- Nobody will report of a task any more.
UPDATE tasks SET left_as = ?, worker = '' WHERE execution = ? AND path = ?;

-- name: waiting_tasks
-- How many tasks with the given needs nobody has begun, and since when the oldest waits.
SELECT count(*), min(at) FROM tasks WHERE worker = '' AND stop = '' AND left_as = '' AND needs = ?;

-- name: remove_tasks
-- Removes the tasks of executions (one array of ids).
DELETE FROM tasks WHERE execution IN carray(?);

-- name: accept
-- Takes note of a message and answers with its key if it is new.
INSERT INTO accepted (execution, source, key, tenant, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (execution, source, key) DO NOTHING RETURNING execution, source, key;

-- name: put
-- Puts a message into an inbox.
INSERT INTO inbox (execution, tenant, source, key, sender, at, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: standings
-- The epochs of these executions and their last facts; the ids come as one array.
SELECT execution, epoch, seq FROM executions WHERE execution IN carray(?);

-- name: tenants
-- The tenants of these executions; the ids come as one array.
SELECT execution, tenant FROM executions WHERE execution IN carray(?);

-- name: keyed
-- What an idempotency key stands for.
SELECT execution, fingerprint, tenant, workflow, key FROM keys WHERE tenant = ? AND workflow = ? AND key = ?;

-- name: row
-- The row of one execution.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM executions AS e LEFT JOIN wakes AS w USING (execution) WHERE e.execution = ?;

-- name: rows_to_take
-- The rows of these executions (one array of ids) as they will be once they are taken, but with their former home.
SELECT execution, tenant, workflow, digest, created, updated, priority, status, home, epoch + 1, seq, level, NULL, key
FROM executions WHERE execution IN carray(?);

-- name: rows
-- A tenant's executions, newest first. The plus keeps the planner to the primary key, which is in order already.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM executions AS e LEFT JOIN wakes AS w USING (execution)
WHERE e.execution < :before AND +e.tenant = :tenant AND (:statuses >> e.status) & 1
ORDER BY e.execution DESC LIMIT :limit;

-- name: unfinished_rows
-- A tenant's executions that have not ended, newest first; of one workflow where it is named.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM unfinished AS u CROSS JOIN executions AS e USING (execution) LEFT JOIN wakes AS w USING (execution)
WHERE u.execution < :before AND u.tenant = :tenant AND (:workflow IS NULL OR e.workflow = :workflow)
  AND (:statuses >> e.status) & 1
ORDER BY u.execution DESC LIMIT :limit;

-- name: unsuccessful_rows
-- A tenant's executions that have ended without success, newest first; of one workflow where it is named.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM unsuccessful AS u CROSS JOIN executions AS e USING (execution) LEFT JOIN wakes AS w USING (execution)
WHERE u.execution < :before AND u.tenant = :tenant AND (:workflow IS NULL OR e.workflow = :workflow)
  AND (:statuses >> e.status) & 1
ORDER BY u.execution DESC LIMIT :limit;

-- name: rows_of_workflow
-- A workflow's executions, newest first.
SELECT e.execution, e.tenant, e.workflow, e.digest, e.created, e.updated, e.priority, e.status, e.home, e.epoch, e.seq, e.level,
       w.wake, e.key
FROM executions AS e LEFT JOIN wakes AS w USING (execution)
WHERE e.tenant = :tenant AND e.workflow = :workflow AND e.execution < :before AND (:statuses >> e.status) & 1
ORDER BY e.execution DESC LIMIT :limit;

-- name: any_waiting
-- Whether anything without a home is due or called, in one look: what most polls ask.
SELECT EXISTS (SELECT 1 FROM wakes WHERE arrived = 1 AND priority IN (1, 2, 3, 4, 5))
    OR EXISTS (SELECT 1 FROM wakes WHERE priority IN (1, 2, 3, 4, 5) AND due <= :now);

-- name: due
-- Homeless executions of one priority whose time has come, the most overdue first.
SELECT w.due, w.execution FROM wakes AS w CROSS JOIN executions AS e USING (execution)
WHERE w.priority = :priority AND w.due <= :now AND e.home = '' AND e.level <= :level AND e.status < 6
ORDER BY w.due LIMIT :limit;

-- name: called
-- Homeless executions of one priority that a message waits for, whatever the clock says, the longest waiting first.
SELECT w.due, w.execution FROM wakes AS w CROSS JOIN executions AS e USING (execution)
WHERE w.arrived = 1 AND w.priority = :priority AND e.home = '' AND e.level <= :level AND e.status < 6
ORDER BY w.due LIMIT :limit;

-- name: orphaned
-- Executions of one priority whose home is the given worker, which is dead.
SELECT updated, execution FROM executions
WHERE home = :home AND home <> '' AND priority = :priority AND level <= :level AND status < 6 LIMIT :limit;

-- name: wanted
-- Of these executions (one array of ids) those that may go on: where they are at home, and since when they wait.
SELECT priority, updated, execution, home FROM executions WHERE execution IN carray(:only) AND level <= :level AND status < 6;

-- name: homes
-- Every worker that is some execution's home.
WITH RECURSIVE each (home) AS (
    SELECT min(home) FROM executions WHERE home <> ''
    UNION ALL
    SELECT (SELECT min(home) FROM executions WHERE home <> '' AND home > each.home) FROM each WHERE each.home IS NOT NULL
)
SELECT home FROM each WHERE home IS NOT NULL;

-- name: take
-- Makes a worker the home of an execution; the epoch moves on, so that the former home can write no more.
UPDATE executions SET home = ?, epoch = epoch + 1 WHERE execution = ?;

-- name: free_wakes
-- Makes due at once what a worker still held.
INSERT INTO wakes (execution, tenant, priority, due, wake, arrived)
SELECT execution, tenant, priority, 0, NULL, 0 FROM executions WHERE home = :home AND home <> '' AND status < 6
ON CONFLICT (execution) DO UPDATE SET due = 0;

-- name: free
-- Lets all that a worker held leave it.
UPDATE executions SET home = '' WHERE home = ? AND home <> '';

-- name: journal
-- The steps of an execution, in order; none of one that was removed, though its rows may still be there.
SELECT execution, first_seq, count, at, level, body FROM journal
WHERE execution = :execution AND first_seq > :after AND EXISTS (SELECT 1 FROM executions WHERE execution = :execution)
ORDER BY first_seq LIMIT :limit;

-- name: feed
-- The next steps of all executions in the order of their commits, and beside each where this store's history stands: its end, which
-- row has the place of the reader's last one, how far that one's execution has come, and what was removed that it was not told of.
-- A row of no execution only keeps its position from being given again.
SELECT history, last, found_execution, found_seq, reached, removals, gap,
       position, execution, first_seq, count, at, level, tenant, body, stays
FROM (
    SELECT (SELECT value FROM meta WHERE name = 'incarnation') AS history,
           (SELECT max(position) FROM journal) AS last,
           (SELECT execution FROM journal WHERE position = :number AND execution <> x'') AS found_execution,
           (SELECT first_seq FROM journal WHERE position = :number) AS found_seq,
           (SELECT seq FROM executions WHERE execution = :execution) AS reached,
           (SELECT max(number) FROM removals) AS removals,
           EXISTS (
               SELECT 1 FROM removals
               WHERE number > :removals AND position > :after AND (:tenant IS NULL OR tenant = :tenant)
           ) AS gap
) LEFT JOIN (
    SELECT j.position, j.execution, j.first_seq, j.count, j.at, j.level, j.tenant, j.body,
           EXISTS (SELECT 1 FROM executions AS e WHERE e.execution = j.execution) AS stays
    FROM journal AS j WHERE j.position > :after ORDER BY j.position LIMIT :limit
) ON true;

-- name: feed_of_execution
-- The next steps of one execution, in order, and beside each where its history stands; no row where it is not there.
SELECT (SELECT value FROM meta WHERE name = 'incarnation'), e.seq, e.tenant, j.first_seq, j.count, j.at, j.level, j.body
FROM executions AS e LEFT JOIN journal AS j ON j.execution = e.execution AND j.first_seq > :after
WHERE e.execution = :execution ORDER BY j.first_seq LIMIT :limit;

-- name: snapshot
-- The snapshot of an execution.
SELECT execution, seq, fold, body FROM snapshots WHERE execution = ?;

-- name: arrived
-- Messages for the executions that a worker is the home of, in the order of their arrival.
SELECT i.position, i.execution, i.source, i.key, i.at, i.body, i.sender FROM inbox AS i CROSS JOIN executions AS e USING (execution)
WHERE i.position > ? AND e.home = ? AND e.home <> '' ORDER BY i.position LIMIT ?;

-- name: inbox
-- Messages for one execution, in the order of their arrival.
SELECT position, execution, source, key, at, body, sender FROM inbox WHERE execution = ? ORDER BY position LIMIT ?;

-- name: save_definition
-- Keeps a definition; one that is there already stays as it is.
INSERT INTO definitions (tenant, digest, name, created, document, lock, origin) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, digest) DO NOTHING;

-- name: definition
-- One definition.
SELECT digest, tenant, name, created, document, lock, origin FROM definitions WHERE tenant = ? AND digest = ?;

-- name: definitions
-- All definitions of a name, newest first.
SELECT digest, tenant, name, created, document, lock, origin FROM definitions
WHERE tenant = ? AND name = ? ORDER BY created DESC, number DESC;

-- name: definitions_since
-- The definitions of all tenants in the order in which they were saved.
SELECT number, digest, tenant, name, created, document, lock, origin FROM definitions WHERE number > ? ORDER BY number LIMIT ?;

-- name: save_blob
-- Keeps a large value; one that is there already is only younger again, unless it is young (600,000,000: ten minutes).
INSERT INTO blobs (tenant, digest, size, body, saved)
VALUES (?, ?, ?, ?, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
ON CONFLICT (tenant, digest) DO UPDATE SET saved = excluded.saved WHERE saved < excluded.saved - 600000000;

-- name: blobs
-- Large values by their digests, which come as one array.
SELECT digest, size, body FROM blobs WHERE tenant = ? AND digest IN carray(?);

-- name: blob_files
-- The large values that are files.
SELECT DISTINCT digest, size FROM blobs WHERE body IS NULL;

-- name: first_event_since
-- Where in the log the first event of a type from a time on stands. The plus keeps the planner to the index by time.
SELECT min(+position) FROM events WHERE tenant = ? AND type = ? AND at >= ?;

-- name: events
-- The event log of a tenant, in order.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM events
WHERE tenant = :tenant AND position > :after AND at >= :since ORDER BY position LIMIT :limit;

-- name: events_of_type
-- The events of one type in the log of a tenant, in order. The plus keeps the planner to positions, which are in order already.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM events
WHERE tenant = :tenant AND type = :type AND position > :after AND +at >= :since ORDER BY position LIMIT :limit;

-- name: latest_events
-- The end of the event log of a tenant, the newest first.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM events
WHERE tenant = :tenant AND position > :after AND at >= :since ORDER BY position DESC LIMIT :limit;

-- name: latest_events_of_type
-- The last events of one type in the log of a tenant, the newest first. The plus as above.
SELECT position, id, tenant, type, source, subject, at, execution, body FROM events
WHERE tenant = :tenant AND type = :type AND position > :after AND +at >= :since ORDER BY position DESC LIMIT :limit;

-- name: save_worker
-- Makes a worker known.
INSERT INTO workers (worker, host, pid, started, level, labels) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (worker) DO UPDATE SET host = excluded.host, pid = excluded.pid, started = excluded.started, level = excluded.level,
    labels = excluded.labels, load = '', heard = 0;

-- name: save_load
-- What a worker is doing.
UPDATE workers SET load = ?, heard = ? WHERE worker = ?;

-- name: drop_worker
-- Forgets a worker.
DELETE FROM workers WHERE worker = ?;

-- name: workers
-- All known workers.
SELECT worker, host, pid, started, level, heard, load, labels FROM workers ORDER BY worker;

-- name: is_home
-- Whether a worker is the home of any execution that may go on.
SELECT EXISTS (SELECT 1 FROM executions WHERE home = :home AND home <> '' AND status < 6);

-- name: look_for_finished
-- The next executions in the order of their beginning. The first column: are they final, and since before a time?
SELECT status >= 6 AND updated < :before,
       execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, NULL, key
FROM executions WHERE execution > :after AND execution < :bound ORDER BY execution LIMIT :limit;

-- name: remove
-- Removes the rows of those executions (one array of ids) that are final, and answers with what their other rows are found by.
DELETE FROM executions WHERE execution IN carray(?) AND status >= 6 RETURNING execution, tenant, workflow, key;

-- name: remove_key
-- Removes an idempotency key with the execution that it stands for.
DELETE FROM keys WHERE tenant = ? AND workflow = ? AND key = ? AND execution = ?;

-- name: remove_snapshots
-- Removes the snapshots of executions (one array of ids).
DELETE FROM snapshots WHERE execution IN carray(?);

-- name: remove_wakes
-- Removes the wake times of executions (one array of ids).
DELETE FROM wakes WHERE execution IN carray(?);

-- name: remove_unsuccessful
-- Executions (one array of ids) are no longer among those that have ended without success.
DELETE FROM unsuccessful WHERE execution IN carray(?);

-- name: leave_behind
-- Notes that an execution was removed whose other rows are still there.
INSERT INTO leftovers (execution, tenant) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: last_positions
-- Up to where in the feed removed executions (one array of ids) reach, which have left their rows behind; with their tenants.
SELECT l.tenant, (SELECT j.position FROM journal AS j WHERE j.execution = l.execution ORDER BY j.first_seq DESC LIMIT 1) AS last
FROM leftovers AS l WHERE l.execution IN carray(?) AND last IS NOT NULL;

-- name: note_removal
-- Notes up to where in the feed something was removed, and answers with its number.
INSERT INTO removals (tenant, position) VALUES (?, ?) RETURNING tenant, position, number;

-- name: forget_removals
-- Removals that a later one covers tell a reader nothing more.
DELETE FROM removals WHERE tenant = ? AND position <= ? AND number < ?;

-- name: leftovers
-- Executions that have left rows behind.
SELECT execution FROM leftovers WHERE execution > x'' ORDER BY execution LIMIT ?;

-- name: clear_journal
-- Clears away journal rows of executions (one array of ids), at most so many.
DELETE FROM journal WHERE position IN (SELECT position FROM journal WHERE execution IN carray(?) LIMIT ?);

-- name: keep_position
-- A row of no execution keeps the last position from being given again, where the row that had it was cleared away.
INSERT INTO journal (position, execution, first_seq, count, at, level, tenant, body)
SELECT :last, x'', :last, 0, 0, 0, '', x'' WHERE NOT EXISTS (SELECT 1 FROM journal WHERE position >= :last);

-- name: forget_positions
-- Rows of no execution that are not the last keep nothing any more.
DELETE FROM journal WHERE execution = x'' AND position < (SELECT max(position) FROM journal);

-- name: last_position
-- The last position of the feed; none where nothing was ever written.
SELECT max(position) FROM journal;

-- name: clear_inbox
-- Clears away messages that nobody will take in, at most so many.
DELETE FROM inbox WHERE position IN (SELECT position FROM inbox WHERE execution IN carray(?) LIMIT ?);

-- name: clear_accepted
-- Clears away what was kept to know repeats of messages by, at most so many.
DELETE FROM accepted
WHERE (execution, source, key) IN (SELECT execution, source, key FROM accepted WHERE execution IN carray(?) LIMIT ?);

-- name: cleared
-- Of these executions (one array of ids) nothing is left.
DELETE FROM leftovers WHERE execution IN carray(?);

-- name: forget_events
-- Drops old ones among the first events of the log.
DELETE FROM events WHERE position IN (SELECT position FROM events WHERE position > 0 ORDER BY position LIMIT :limit) AND at < :before;

-- name: bodies_of_inbox
-- Messages, in order: what names large values.
SELECT position, execution, body FROM inbox WHERE position > ? ORDER BY position LIMIT ?;

-- name: bodies_of_journal
-- Steps of all executions, in the order of their writing: what names large values.
SELECT position, execution, body FROM journal WHERE position > ? AND execution <> x'' ORDER BY position LIMIT ?;

-- name: bodies_of_events
-- Events, in order: what names large values.
SELECT position, NULL, body FROM events WHERE position > ? ORDER BY position LIMIT ?;

-- name: old_blobs
-- Large values that were not saved for so many microseconds, the longest ago first.
SELECT saved, number, tenant, digest, size FROM blobs
WHERE (saved, number) > (:saved, :number) AND saved <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - :unsaved
ORDER BY saved, number LIMIT :limit;

-- name: drop_blob
-- Drops a large value that was not saved for so many microseconds, and answers with it and whether it is a file.
DELETE FROM blobs WHERE tenant = ? AND digest = ? AND saved <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?
RETURNING tenant, digest, size, body IS NULL;

-- name: loosen
-- Notes that a file of a large value has lost a row that named it.
INSERT INTO loose_files (digest, unsaved) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET unsaved = excluded.unsaved;

-- name: loose_files
-- Files that have lost their rows: the moment before which they must have been written to go.
SELECT digest, CAST(unixepoch('subsec') * 1000000 AS INTEGER) - unsaved FROM loose_files AS l
WHERE digest > x'' AND NOT EXISTS (SELECT 1 FROM blobs AS b WHERE b.digest = l.digest AND b.body IS NULL) LIMIT ?;

-- name: forget_file
-- A file is gone.
DELETE FROM loose_files WHERE digest = ?;

-- name: forget_named_files
-- Files that have a row again are no loose ones.
DELETE FROM loose_files
WHERE digest > x'' AND EXISTS (SELECT 1 FROM blobs AS b WHERE b.digest = loose_files.digest AND b.body IS NULL);

-- name: lease
-- Takes a chore, or goes on with it; while another holder has it this changes nothing, which the count tells.
INSERT INTO leases (name, holder, until) VALUES (:name, :holder, :until)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE holder = excluded.holder OR until <= :now;

-- name: version
-- A number that another connection's commit changes, and our own does not.
PRAGMA data_version;

-- name: integrity
-- The database's own check of itself, the first hundred findings.
PRAGMA integrity_check(100);
