"""Every code that an error of ours can bear at run time: what happened, and what to do.

Checker and expressions have lists of their own.
Codes of users' nodes, of `fail` nodes and of importers pass through untouched; these are only ours (day-one 26).
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """One code: what happened, and what to do."""

    code: str
    meaning: str
    remedy: str


ERROR_CODES: tuple[ErrorCode, ...] = (
    # -- refused: nothing was started, nothing lost --------------------------------------------------------------------
    ErrorCode("error", "Something a caller must hear about.", "See the message."),
    ErrorCode("refused", "What was asked cannot be done as asked.", "Change the request as the message says."),
    ErrorCode("usage", "The command line asks for what does not exist.", "`perdure COMMAND --help` lists what does."),
    ErrorCode("file.unwritable", "A file cannot be written.", "Choose another place."),
    ErrorCode(
        "execution.elsewhere", "Another living process runs the execution.", "Signal, cancel or show it; or stop that process."
    ),
    ErrorCode("definition.refused", "The definition has faults.", "Mend them; `perdure check FILE` lists all at once."),
    ErrorCode("definition.unreadable", "The definition file cannot be read.", "Check the path and its permissions."),
    ErrorCode("definition.too_large", "The definition is larger than any needs.", "Split it, or loop over data."),
    ErrorCode("picture.too_large", "A definition is too large for a picture.", "Draw the sub-workflows it can be split into."),
    ErrorCode(
        "input.refused", "The input does not fit the workflow's `input:`, or cannot be stored.", "Give what it asks for."
    ),
    ErrorCode(
        "start.conflict",
        "The idempotency key started an execution with another payload.",
        "Use a new key, or the same payload.",
    ),
    ErrorCode("not_found", "There is no such execution, definition or node.", "Check the id and the store."),
    ErrorCode(
        "control.refused", "The execution, or the node, cannot be asked that now.", "The message says what it does instead."
    ),
    ErrorCode("execution.ended", "The execution has ended; nothing more reaches it.", "Start it anew."),
    ErrorCode("token.invalid", "The text is no token of a deferred node.", "Use the token as the node gave it."),
    ErrorCode(
        "prune.elsewhere",
        "Another process is pruning the store.",
        "Wait for its end; one that has died is waited for a minute.",
    ),
    ErrorCode(
        "feed.cursor",
        "The text is no cursor of this feed: it is of another store, history or selection.",
        "Give one as a line of the feed has it, or begin without one: what comes twice is known by `execution` and `seq`.",
    ),
    ErrorCode("settings.refused", "A setting cannot be what it was set to.", "See the reference of settings."),
    ErrorCode("nodes.file", "A file of nodes cannot be loaded.", "Mend it at the line that is named."),
    ErrorCode("nodes.package", "An installed package of nodes cannot be loaded.", "Mend or uninstall it."),
    ErrorCode("nodes.duplicate", "Two nodes have one name.", "Rename one; dotted names never collide."),
    ErrorCode("nodes.reserved", "A node has the name of a built-in one.", "Rename it."),
    ErrorCode("nodes.reference", "A process cannot find a node's function.", "Define it at the top level of its file."),
    ErrorCode("nodes.changed", "A file of nodes changed while an engine runs.", "Start the engine again."),
    # -- the store ------------------------------------------------------------------------------------------------------
    ErrorCode("store.error", "The store could not do it now.", "What was committed is safe; see the message."),
    ErrorCode(
        "store.busy", "Another process kept the store locked for longer than we wait.", "Try again, or find who holds it."
    ),
    ErrorCode("store.full", "No space is left where the store lies.", "Make room, then `perdure resume`."),
    ErrorCode("store.read_only", "The store cannot be written.", "Check owner, permissions and mount of file and folder."),
    ErrorCode("store.too_new", "A newer Perdure wrote the store.", "Upgrade this installation."),
    ErrorCode("store.damaged", "What is stored cannot be read as written.", "`perdure verify` names every damaged row."),
    ErrorCode(
        "store.executions_refused", "The database refused what single executions wrote.", "They are set aside; report it."
    ),
    # -- nodes in general -----------------------------------------------------------------------------------------------
    ErrorCode("node.failed", "The node failed and said no more.", "Look at the node's own log."),
    ErrorCode("node.exception", "The node's code raised an exception.", "See `detail` for where."),
    ErrorCode(
        "node.not_runnable",
        "The format knows it, but the engine of this release does not run it.",
        "Use what `perdure nodes` lists.",
    ),
    ErrorCode("node.unknown_type", "This worker has no such node type.", "Install it, or name its file with `--nodes`."),
    ErrorCode("node.cannot_defer", "A node deferred outside an execution.", "Call it from a workflow."),
    ErrorCode(
        "node.process_died",
        "The process that ran the node ended by itself.",
        "Look for crashes of native code, or too little memory.",
    ),
    ErrorCode("node.memory_limit", "The node needed more memory than it may.", "Give it more, or less data at once."),
    ErrorCode("node.cpu_limit", "The node computed for longer than it may.", "Give it more, or less data at once."),
    ErrorCode("node.pool_closed", "The pool of processes is closing.", "Start the engine again."),
    ErrorCode("params.invalid", "Parameters do not fit the node.", "See the node's page: `perdure nodes NAME`."),
    ErrorCode("output.invalid", "The output holds what cannot be stored.", "Return what JSON can hold."),
    ErrorCode("output.schema", "The workflow's output does not fit its `output_schema`.", "See `data.faults`."),
    ErrorCode("output.too_large", "The output is larger than is kept.", "Keep it in a file and return where it lies."),
    ErrorCode("worker.crashed", "Workers died while they ran the node.", "Find what in the node kills its process."),
    ErrorCode(
        "effect.unknown", "Nobody can say whether an at-most-once effect happened.", "Find out, then complete or fail it."
    ),
    ErrorCode("timeout", "One attempt took longer than its `timeout`.", "Raise the timeout, or find what hangs."),
    ErrorCode(
        "timeout.heartbeat", "A running attempt was silent for longer than `heartbeat`.", "Beat more often, or find what hangs."
    ),
    ErrorCode("timeout.queue", "No slot was free within `queue_timeout`.", "Add workers or slots."),
    ErrorCode("timeout.deadline", "All attempts together took longer than `deadline`.", "Raise it, or retry less."),
    ErrorCode("timeout.wait", "What was waited for did not come.", "Route it with `on_timeout`."),
    ErrorCode("timeout.scope", "A scope took longer than its own `timeout`.", "Raise it, or handle it around the scope."),
    ErrorCode("timeout.subworkflow", "A child timed out.", "Look at the child; its `settings.timeout` or what is left to it."),
    ErrorCode(
        "cleanup.exhausted", "The time for cleaning up was used.", "`data.undone` names what was stopped; do it by hand."
    ),
    ErrorCode("timeout.workflow", "The workflow took longer than `settings.timeout`.", "Raise it, or find what takes long."),
    # -- control and data nodes -----------------------------------------------------------------------------------------
    ErrorCode("switch.no_match", "No case of a strict switch holds.", "Add a case, or use `default`."),
    ErrorCode("quorum_unreachable", "Too many branches failed for the quorum.", "See `also` for their failures."),
    ErrorCode("loop.not_iterable", "`over` is neither list nor object.", "Give it a list."),
    ErrorCode("loop.invalid", "What limits a loop is no such number.", "Mend the expression."),
    ErrorCode(
        "loop.max_iterations", "A loop would go beyond `max_iterations`.", "Raise it, or find why the loop does not end."
    ),
    ErrorCode("visits.exhausted", "A node was visited as often as `max_visits` allows.", "Take it by an `error` edge."),
    ErrorCode("compensation_failed", "A compensation failed; all others were run.", "See `cause` and `also`; undo it by hand."),
    ErrorCode(
        "departure.return", "A return was under way when a `finally` failed.", "It is the cause; see the failure itself."
    ),
    ErrorCode("departure.exit", "An exit was under way when a `finally` failed.", "It is the cause; see the failure itself."),
    ErrorCode("departure.break", "A break was under way when a `finally` failed.", "It is the cause; see the failure itself."),
    ErrorCode(
        "departure.continue", "A continue was under way when a `finally` failed.", "It is the cause; see the failure itself."
    ),
    ErrorCode("workflow.unknown", "There is no workflow of this name.", "Save it: `perdure check --save FILE`."),
    ErrorCode(
        "subworkflow.too_deep", "Sub-workflows are nested too deeply.", "Raise `settings.depth_max`, or end the recursion."
    ),
    ErrorCode("subworkflow.cancelled", "A child was cancelled.", "See who cancelled it: `perdure show` of the child."),
    ErrorCode("time.invalid", "A value is no RFC 3339 time.", "Write it with its offset: 2026-12-24T18:00:00+01:00."),
    ErrorCode(
        "variable.merge", "A written value cannot join the present one.", "Write a value of the kind that `merge` takes."
    ),
    ErrorCode(
        "variable.conflict", "Two writes of a `merge: error` variable are in no order.", "Order them, or choose another merge."
    ),
    ErrorCode("variable.unknown", "There is no such variable in sight.", "Declare it under `vars`."),
    ErrorCode("duration.invalid", "A value is no duration.", "Write 10s, 5m, 2h, 3d, ISO 8601, or seconds."),
    ErrorCode("retry.invalid", "A retry policy cannot be evaluated.", "Mend its expressions."),
    ErrorCode("validation.schema", "A value does not fit a schema.", "See `data.faults`."),
    ErrorCode("data.not_iterable", "`over` is neither list nor object.", "Give it a list."),
    ErrorCode("sort.key", "Sort keys cannot be compared with each other.", "Sort by one kind of value."),
    ErrorCode("group.key", "A value cannot be grouped by.", "Group by a text, a whole number, true, false or null."),
    ErrorCode("merge.type", "Values of different kinds cannot be merged.", "Merge objects, or lists."),
    ErrorCode("split.count", "A list cannot be split into that.", "Give a whole number from 1 on."),
    # -- http, python, notify -------------------------------------------------------------------------------------------
    ErrorCode("http.NNN", "The server answered with this status.", "4xx: mend the request; 5xx, 408, 425, 429 are retried."),
    ErrorCode("http.connect", "No connection could be made: nothing was sent.", "Check the address; retried by default."),
    ErrorCode(
        "http.cut",
        "The connection broke after sending: it may have happened.",
        "Make the receiver drop repeats by `Idempotency-Key`.",
    ),
    ErrorCode("http.timeout", "The server took too long.", "Raise `timeout`, or find out why."),
    ErrorCode("http.redirects", "Too many redirects.", "Check the address."),
    ErrorCode("http.too_large", "The response is larger than `max_bytes`.", "Raise it, or fetch less."),
    ErrorCode("http.body", "The body cannot be sent or read.", "Check `json`, `form`, `body`."),
    ErrorCode("python.syntax", "The code is no Python, or uses what the sandbox has not.", "See the line in `detail`."),
    ErrorCode("python.exception", "The code raised an exception.", "See `detail`."),
    ErrorCode("python.time_limit", "The code ran for longer than it may.", "Do less, or write a node of your own."),
    ErrorCode("python.memory_limit", "The code needed more memory than it may.", "Do less, or write a node of your own."),
    ErrorCode("python.crashed", "The sandbox itself failed.", "Report it with the code."),
    ErrorCode("notify.failed", "A message could not be delivered.", "Check address and credentials."),
    ErrorCode("notify.channel", "There is no such channel.", "Name it in the settings."),
    ErrorCode("notify.address", "A text is no address of a channel.", "Write it as Apprise does."),
)
