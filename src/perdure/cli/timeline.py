"""The timeline of an execution in lines: each step with what came in, and the facts that followed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perdure.cli.wording import clock_text, date_text, one_line
from perdure.engine import events
from perdure.engine.events import AnyInput
from perdure.expressions.times import parse_time
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.journal import Journaled, fact_object, path_of

VALUE_CHARACTERS_MAX = 160

_PLUMBING = frozenset(
    (
        "execution", "digest", "lock", "sources", "ready", "started", "finished", "at", "generation", "tenant", "children",
        "depth", "bound", "of", "through",
    )
)  # fmt: skip
"""What a person reading a timeline has no use for; `show --json` has it all."""

_TIMES = frozenset(("due", "timeout_at", "deadline_at", "soft_timeout_at", "cleanup_at", "until"))


def timeline_lines(timeline: Iterable[Journaled]) -> Iterator[str]:
    """A line for each step with its causes, and one below for each fact."""
    day = ""
    for moment in timeline:
        date = date_text(moment.at)[:10]
        if date != day:
            day = date
            yield f"  {date}"
        causes = "; ".join(input_words(given) for given in moment.inputs)
        yield f"  {clock_text(moment.at)}  {causes}{' (cut, goes on)' if moment.cut else ''}"
        for number, fact in enumerate(moment.facts, moment.first_seq):
            yield f"    {number:>6}  {fact_words(fact_object(fact))}"


def input_words(given: AnyInput) -> str:
    """What came in, by whom and why."""
    match given:
        case events.Start():
            return f"start{_by(given.by)}"
        case events.Result():
            error = f" ({given.error.code})" if given.error is not None else ""
            return f"result of {path_of(given.token)}, attempt {given.token.attempt}: {given.outcome}{error}"
        case events.Due():
            what = instance_path(given.frame, given.node, given.visit) if given.node else given.frame or "the workflow"
            return f"timer: the {given.kind.replace('_', ' ')} of {what}"
        case events.Signal():
            key = f" with key {given.key}" if given.key else ""
            return one_line(f"signal `{given.name}`{key}{_by(given.by)}")
        case events.Operate():
            what = f" {instance_path(given.frame, given.node, given.visit)}" if given.node else ""
            action = "unpause" if given.action == "resume" else given.action
            return one_line(f"{action}{what}{_by(given.by)}{f': {given.reason}' if given.reason else ''}")
        case events.Complete():
            return f"answer for {path_of(given.token)}{_by(given.by)}"
        case events.Arrived():
            return one_line(f"event `{given.type}`{f' about {given.subject}' if given.subject else ''}{_by(given.source)}")
        case events.ChildEnded():
            return f"{id_text(ExecutionId(given.child))}, the child of {path_of(given.token)}: {given.status.replace('_', ' ')}"
        case events.Granted():
            return one_line(f"the lock `{given.key}` is free for {instance_path(given.frame, given.node, given.visit)}")
        case events.Recovered():
            return "taken over after its worker died" if given.crashed else "taken up again"
        case events.Continue():
            return "continued"


def _by(who: str) -> str:
    return f" by {who}" if who else ""


def fact_words(fact: Mapping[str, Any]) -> str:
    """A fact in one line: what, where, and what matters of it."""
    about = dict(fact)
    name, error = about.pop("fact"), about.pop("error", None)
    frame, node = about.pop("frame", ""), about.pop("node", "")
    if "child" in about and name == "waiting":
        about.pop("key", None)  # the digest of its definition
    words = [f"{key.replace('_', ' ')} {_value_words(key, value)}" for key, value in about.items() if key not in _PLUMBING]
    if error:
        words.append(f"{error['code']}: {error['title']}")
    return one_line(f"{name.replace('_', ' '):12} {node or frame}  {', '.join(words)}".rstrip())


def _value_words(key: str, value: Any) -> str:
    if key in _TIMES and isinstance(value, str):
        text = date_text(parse_time(value))
    elif isinstance(value, str):
        text = value
    elif isinstance(value, dict) and "$blob" in value:
        text = f"({value['size']:,} bytes, {value['$blob'][:12]})"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"
