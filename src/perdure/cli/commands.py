"""The commands and their options, and nothing else: what each does stands in the file of its group."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from perdure.cli.exits import INTERRUPTED, REFUSED, broken, pipe_closed, refuse, say
from perdure.errors import PerdureError


class Commands(TyperGroup):
    """All commands; none of them minds when who reads its output has gone."""

    def invoke(self, ctx: Any) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            return pipe_closed()
        return code


app = typer.Typer(
    cls=Commands,
    name="perdure", help="Durable workflows that finish.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

Store = Annotated[str | None, Option("--store", help="The store's file (default: perdure.db, or PERDURE_STORE).")]
Json = Annotated[bool, Option("--json", help="One JSON object a line, for scripts.")]
Nodes = Annotated[list[str] | None, Option("--nodes", help="A file of nodes, besides the nodes.py beside the workflow.")]
Ids = Annotated[list[str] | None, Argument(metavar="[ID]...")]
Id = Annotated[str, Argument(metavar="ID", help="An execution's id, or its last four or more characters.")]
Path = Annotated[str, Argument(metavar="PATH", help="The node, as `perdure show` names it.")]
NoWait = Annotated[bool, Option("--no-wait", help="Leave with exit code 4 when only a person can move it on.")]
Reason = Annotated[str, Option("--reason", help="Why; kept in the journal.")]


def _version(wanted: bool) -> None:
    if wanted:
        from perdure import __version__

        print(f"perdure {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Say the version.")] = False,
    verbose: Annotated[bool, Option("--verbose", help="Say more on stderr.")] = False,
) -> None:
    from perdure.cli.logs import log_to_stderr

    log_to_stderr(verbose=verbose)


@app.command()
def run(
    file: Annotated[str, Argument(metavar="FILE", help="The workflow, YAML or JSON.")],
    input: Annotated[str, Option("--input", help="JSON, @file, or @- for standard input.")] = "{}",
    store: Store = None,
    key: Annotated[str, Option("--key", help="Idempotency key: the same key and input start one execution.")] = "",
    priority: Annotated[int, Option("--priority", min=0, max=5, help="1 (first) to 5; 0: the workflow's own.")] = 0,
    nodes: Nodes = None,
    no_wait: NoWait = False,
    signal: Annotated[str, Option("--signal", help="Start it, or find the one of that key, and send it this signal.")] = "",
    payload: Annotated[str | None, Option("--payload", help="The signal's payload: JSON, @file or @-.")] = None,
    signal_key: Annotated[str, Option("--signal-key", help="The key that the wait names.")] = "",
    signal_id: Annotated[str, Option("--signal-id", help="The same id twice is one signal.")] = "",
    json: Json = False,
    plain: Annotated[bool, Option("--plain", help="Plain lines also on a terminal.")] = False,
) -> int:
    """Start a workflow and follow it to its end.

    Exit codes: 0 succeeded, 1 failed, 2 refused, 3 cancelled or timed out, 4 waits for a person (--no-wait), 130 Ctrl-C.
    """
    from perdure.cli import running

    return running.run(
        file, input=input, store=store, key=key, priority=priority, nodes=tuple(nodes or ()), no_wait=no_wait, json=json,
        plain=plain, signal=running.first_signal(signal, payload, signal_key, signal_id),
    )  # fmt: skip


@app.command()
def start(
    file: Annotated[str, Argument(metavar="FILE", help="The workflow, YAML or JSON.")],
    input: Annotated[str, Option("--input", help="JSON, @file, or @- for standard input.")] = "{}",
    store: Store = None,
    key: Annotated[str, Option("--key", help="Idempotency key: the same key and input start one execution.")] = "",
    priority: Annotated[int, Option("--priority", min=0, max=5, help="1 (first) to 5; 0: the workflow's own.")] = 0,
    nodes: Nodes = None,
    signal: Annotated[str, Option("--signal", help="Start it, or find the one of that key, and send it this signal.")] = "",
    payload: Annotated[str | None, Option("--payload", help="The signal's payload: JSON, @file or @-.")] = None,
    signal_key: Annotated[str, Option("--signal-key", help="The key that the wait names.")] = "",
    signal_id: Annotated[str, Option("--signal-id", help="The same id twice is one signal.")] = "",
    json: Json = False,
) -> int:
    """Start a workflow and leave it to the workers; its id."""
    from perdure.cli import running, starting

    return starting.start(
        file, input=input, store=store, key=key, priority=priority, nodes=tuple(nodes or ()), json=json,
        signal=running.first_signal(signal, payload, signal_key, signal_id),
    )  # fmt: skip


@app.command()
def worker(
    store: Store = None,
    slots: Annotated[int | None, Option("--slots", min=1, help="Effects at the same time (default: 1000).")] = None,
    nodes: Nodes = None,
    name: Annotated[str, Option("--name", help="What its name begins with (default: the host's).")] = "",
    health: Annotated[str, Option("--health", metavar="[HOST:]PORT", help="Answer GET /live and GET /ready here.")] = "",
    label: Annotated[
        list[str] | None, Option("--label", metavar="NAME=VALUE", help="What it has, for nodes whose `runs_on` asks for it.")
    ] = None,
    json: Json = False,
) -> int:
    """Carry out whatever is due, together with other workers of the store, until SIGTERM or Ctrl-C.

    Exit codes: 0 drained, 1 it cannot go on (start it again), 2 refused, 130 or 143 left at once by a second signal.
    """
    from perdure.cli import working

    return working.worker(
        store, slots=slots, nodes=tuple(nodes or ()), name=name, health=health, labels=",".join(label) if label else None,
        json=json,
    )  # fmt: skip


@app.command()
def workers(store: Store = None, json: Json = False) -> int:
    """The workers of the store: load, lag, version, when they were last heard of."""
    from perdure.cli import working

    return working.workers(store, json=json)


@app.command()
def resume(
    ids: Ids = None, store: Store = None, nodes: Nodes = None, no_wait: NoWait = False, json: Json = False,
    plain: Annotated[bool, Option("--plain", help="Plain lines also on a terminal.")] = False,
) -> int:  # fmt: skip
    """Go on with interrupted executions: these, or all."""
    from perdure.cli import running

    return running.resume(tuple(ids or ()), store=store, nodes=tuple(nodes or ()), no_wait=no_wait, json=json, plain=plain)


@app.command()
def check(
    files: Annotated[list[str] | None, Argument(metavar="FILE...")] = None,
    nodes: Nodes = None,
    json: Json = False,
    codes: Annotated[bool, Option("--codes", help="List all fault codes.")] = False,
    schema: Annotated[bool, Option("--schema", help="Print the JSON Schema of definitions.")] = False,
    save: Annotated[bool, Option("--save", help="Keep them in the store, to be started by name.")] = False,
    store: Store = None,
    picture: Annotated[str, Option("--picture", metavar="OUT.svg", help="Draw the one that is checked.")] = "",
) -> int:
    """Check definitions, reporting all faults at once."""
    from perdure.cli import checking

    return checking.check(
        tuple(files or ()), nodes=tuple(nodes or ()), json=json, codes=codes, schema=schema, save=save, store=store,
        picture=picture,
    )  # fmt: skip


@app.command("nodes")
def nodes_(name: Annotated[str, Argument(help="One node type, in full.")] = "", nodes: Nodes = None, json: Json = False) -> int:
    """The catalogue of node types."""
    from perdure.cli import checking

    return checking.catalogue(name, nodes=tuple(nodes or ()), json=json)


@app.command("list")
def list_(
    store: Store = None,
    status: Annotated[list[str] | None, Option("--status", help="Only these.")] = None,
    workflow: Annotated[str | None, Option("--workflow", help="Only of this workflow.")] = None,
    limit: Annotated[int, Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
    json: Json = False,
) -> int:
    """Executions, newest first."""
    from perdure.cli import looking

    return looking.list_executions(store, statuses=status, workflow=workflow, limit=limit, json=json)


@app.command()
def show(
    id: Id, store: Store = None, json: Json = False,
    full: Annotated[bool, Option("--full", help="With --json: large values too, not only their size.")] = False,
) -> int:  # fmt: skip
    """One execution: its nodes and its timeline.

    With --json: its journal, a step a line.
    """
    from perdure.cli import looking

    return looking.show(id, store, json=json, full=full)


@app.command()
def why(
    id: Id,
    path: Annotated[str, Argument(metavar="[PATH]", help="A node or a frame: orders[3].charge. None: the execution.")] = "",
    store: Store = None,
    json: Json = False,
) -> int:
    """Why a node ran, was skipped, cancelled, waits or failed; why an execution stands where it stands."""
    from perdure.cli import explaining

    return explaining.why(id, path, store, json=json)


@app.command()
def incidents(store: Store = None, json: Json = False) -> int:
    """Nodes that are parked and wait for an operator."""
    from perdure.cli import looking

    return looking.incidents(store, json=json)


@app.command()
def signal(
    id: Id,
    name: Annotated[str, Argument(metavar="NAME", help="The signal's name.")],
    payload: Annotated[str, Option("--payload", help="JSON, @file or @-.")] = "null",
    key: Annotated[str, Option("--key", help="The key that the wait names.")] = "",
    path: Annotated[str, Option("--path", help="Only to this node; `add` and `close` to this open loop.")] = "",
    signal_id: Annotated[str, Option("--id", help="The same id twice is one signal.")] = "",
    to_all: Annotated[bool, Option("--to-all", help="To all that wait for it now.")] = False,
    ttl: Annotated[str, Option("--ttl", help="How long it is kept when nobody waits, such as 1h (default: always).")] = "",
    store: Store = None,
) -> int:
    """Send a signal to an execution."""
    from perdure.cli import acting

    return acting.signal(id, name, store, payload=payload, key=key, path=path, signal_id=signal_id, to_all=to_all, ttl=ttl)


@app.command()
def emit(
    event: Annotated[str, Argument(metavar="EVENT", help="The event's type, such as order.paid.")],
    data: Annotated[str, Option("--data", help="JSON, @file or @-.")] = "null",
    subject: Annotated[str, Option("--subject", help="What it is about.")] = "",
    event_id: Annotated[str, Option("--id", help="The same id twice is one event.")] = "",
    source: Annotated[str | None, Option("--source", help="Where it comes from (default: you).")] = None,
    store: Store = None,
    json: Json = False,
) -> int:
    """Put an event into the event log, for all that wait for it."""
    from perdure.cli import events

    return events.emit(event, store, data=data, subject=subject, event_id=event_id, source=source, json=json)


@app.command("events")
def events_(
    store: Store = None,
    type: Annotated[str | None, Option("--type", help="Only of this type.")] = None,
    limit: Annotated[int, Option("--limit", min=1, max=100_000, help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> int:
    """The event log, newest last."""
    from perdure.cli import events

    return events.list_events(store, type=type, limit=limit, json=json)


@app.command()
def feed(
    store: Store = None,
    after: Annotated[str, Option("--after", metavar="CURSOR", help="Go on after this line's cursor (default: all).")] = "",
    execution: Annotated[str, Option("--execution", metavar="ID", help="Only of this execution.")] = "",
    new: Annotated[bool, Option("--new", help="Only what comes from now on.")] = False,
    follow: Annotated[bool, Option("--follow", help="Wait for what comes, until Ctrl-C.")] = False,
    limit: Annotated[int, Option("--limit", min=0, help="At most so many facts; 0: all.")] = 0,
    lag: Annotated[bool, Option("--lag", help="Only say what holds the feed up, and for how long.")] = False,
    json: Json = False,
) -> int:
    """The facts of all executions, each once, with cursors to go on after them."""
    from perdure.cli import feeding

    return feeding.feed(
        store, after=after, execution=execution, latest=new, follow=follow, limit=limit, lag=lag, json=json
    )  # fmt: skip


@app.command()
def cancel(
    id: Id, store: Store = None, reason: Reason = "",
    terminate: Annotated[bool, Option("--terminate", help="At once, without any cleanup.")] = False,
    nodes: Nodes = None,
) -> int:  # fmt: skip
    """Cancel an execution."""
    from perdure.cli import acting

    return acting.cancel(id, store, reason=reason, terminate=terminate, nodes=tuple(nodes or ()))


@app.command()
def pause(id: Id, store: Store = None, reason: Reason = "", nodes: Nodes = None) -> int:
    """Pause an execution: nothing new starts until `unpause`."""
    from perdure.cli import acting

    return acting.pause(id, store, reason=reason, nodes=tuple(nodes or ()))


@app.command()
def unpause(
    id: Id, store: Store = None, reason: Reason = "",
    clocks: Annotated[
        str, Option("--clocks", help="frozen: due times move by the pause; running: what came due fires now.")
    ] = "frozen",
) -> int:  # fmt: skip
    """End a pause."""
    from perdure.cli import acting

    return acting.unpause(id, store, clocks=clocks, reason=reason)


@app.command()
def skip(id: Id, path: Path, store: Store = None, reason: Reason = "") -> int:
    """End a wait, or a backoff, now."""
    from perdure.cli import acting

    return acting.skip(id, path, store, reason=reason)


@app.command()
def reschedule(
    id: Id, path: Path,
    to: Annotated[str, Option("--to", help="A duration from now, such as 5m, or a time with its offset.")],
    store: Store = None, reason: Reason = "",
) -> int:  # fmt: skip
    """Move the end of a wait, or of a backoff."""
    from perdure.cli import acting

    return acting.reschedule(id, path, store, to=to, reason=reason)


@app.command()
def retry(
    id: Id, path: Path, store: Store = None, reason: Reason = "",
    input: Annotated[str, Option("--input", help="Other parameters than before: JSON, @file or @-.")] = "",
) -> int:  # fmt: skip
    """Try a parked node again."""
    from perdure.cli import acting

    return acting.operate(id, "retry", path, store, value=input, option="--input", reason=reason)


@app.command()
def complete(
    id: Id, path: Path, store: Store = None, reason: Reason = "",
    output: Annotated[str, Option("--output", help="The node's output: JSON, @file or @-.")] = "null",
) -> int:  # fmt: skip
    """Complete a parked node with an output."""
    from perdure.cli import acting

    return acting.operate(id, "complete", path, store, value=output, option="--output", reason=reason)


@app.command()
def fail(id: Id, path: Path, store: Store = None, reason: Reason = "") -> int:
    """Let a parked node fail."""
    from perdure.cli import acting

    return acting.operate(id, "fail", path, store, value="", option="", reason=reason)


@app.command()
def verify(
    store: Store = None, json: Json = False,
    deep: Annotated[bool, Option("--deep", help="Also step every recorded input again and compare.")] = False,
    nodes: Nodes = None,
) -> int:  # fmt: skip
    """Check everything that is stored against itself."""
    from perdure.cli import looking

    return looking.verify(store, json=json, deep=deep, nodes=tuple(nodes or ()))


@app.command()
def bench(
    workloads: Annotated[list[str] | None, Argument(metavar="[WORKLOAD]...", help="chain, fan-out, loop; none: all.")] = None,
    folder: Annotated[str | None, Option("--folder", help="On which disk; none: where temporary files go.")] = None,
    repeat: Annotated[int, Option("--repeat", min=1, help="Rounds of each; the median is told.")] = 3,
    profile: Annotated[bool, Option("--profile", help="Also where the time of a step goes.")] = False,
    json: Json = False,
) -> int:
    """How fast this machine runs workflows whose effects do nothing."""
    from perdure.cli import benching

    return benching.bench(tuple(workloads or ()), folder=folder, repeat=repeat, profile=profile, json=json)


@app.command()
def prune(
    store: Store = None,
    older_than: Annotated[
        str, Option("--older-than", help="What ended longer ago, such as 30d (default: the retention that is set).")
    ] = "",
    workflow: Annotated[str, Option("--workflow", help="Only of this workflow, whatever it says itself.")] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would go.")] = False,
    json: Json = False,
) -> int:
    """Remove what has ended and is over its retention, with all that is its own."""
    from perdure.cli import pruning

    return pruning.prune(store, older_than=older_than, workflow=workflow, dry_run=dry_run, json=json)


@app.command("import")
def import_(
    format: Annotated[str, Argument(metavar="FORMAT", help="wfformat.")],
    file: Annotated[str, Argument(metavar="FILE")],
    output: Annotated[str, Option("-o", "--output", help="Where to write the definition; none: standard output.")] = "",
    scale: Annotated[float, Option("--scale", help="Recorded seconds become so many.")] = 0.01,
    as_: Annotated[str, Option("--as", help="The node type of a task: delay or science.task.")] = "delay",
    name: Annotated[str, Option("--name", help="The workflow's name.")] = "",
) -> int:
    """Make a definition of a recorded scientific workflow."""
    from perdure.cli import checking

    return checking.import_document(format, file, output=output, scale=scale, node_type=as_, name=name)


def run_command_line(arguments: list[str]) -> int:
    """Carry out a command line; its exit code. Nothing that people can cause ends in a traceback."""
    try:
        code = app(args=arguments, standalone_mode=False)
        return int(code or 0)
    except PerdureError as error:
        return refuse(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last one who can say something
        return _usage(error) if _is_usage(error) else broken(error)


def _is_usage(error: Exception) -> bool:
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _usage(error: Exception) -> int:
    """A command line that cannot be read: what was expected, and exit code 2."""
    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())  # type: ignore[attr-defined]  # as below
        return REFUSED
    say(f"error: {error.format_message()}")  # type: ignore[attr-defined]  # click's UsageError, wherever typer keeps it
    say("  `perdure --help` lists the commands, `perdure COMMAND --help` their options.")
    return REFUSED
