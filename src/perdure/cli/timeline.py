"""The timeline of an execution in lines: each step with what came in, and the facts that followed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perdure.cli.wording import clock_text, date_text, one_line
from perdure.engine import events
from perdure.engine.events import AnyInput
from perdure.expressions.times import parse_time
from perdure.ids import instance_path
from perdure.operations.journal import Journaled, fact_object, path_of

VALUE_CHARACTERS_MAX = 160

_PLUMBING = frozenset(
    ("execution", "digest", "lock", "sources", "ready", "started", "finished", "at", "generation", "frame", "tenant")
)
"""What a person reading a timeline has no use for; `show --json` has it all."""

_TIMES = frozenset(("due", "timeout_at", "deadline_at", "soft_timeout_at"))


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
            what = instance_path(given.frame, given.node, given.visit) if given.node else "the workflow"
            return f"timer: the {given.kind.replace('_', ' ')} of {what}"
        case events.Signal():
            key = f" with key {given.key}" if given.key else ""
            return one_line(f"signal `{given.name}`{key}{_by(given.by)}")
        case events.Operate():
            what = f" {instance_path(given.frame, given.node, given.visit)}" if given.node else ""
            return one_line(f"{given.action}{what}{_by(given.by)}{f': {given.reason}' if given.reason else ''}")
        case events.Complete():
            return f"answer for {path_of(given.token)}{_by(given.by)}"
        case events.Recovered():
            return "taken over after its worker died" if given.crashed else "taken up again"
        case events.Continue():
            return "continued"


def _by(who: str) -> str:
    return f" by {who}" if who else ""


def fact_words(fact: Mapping[str, Any]) -> str:
    """A fact in one line: what, where, and what matters of it."""
    about = dict(fact)
    name, node, error = about.pop("fact"), about.pop("node", ""), about.pop("error", None)
    words = [f"{key.replace('_', ' ')} {_value_words(key, value)}" for key, value in about.items() if key not in _PLUMBING]
    if error:
        words.append(f"{error['code']}: {error['title']}")
    return one_line(f"{name.replace('_', ' '):12} {node}  {', '.join(words)}".rstrip())


def _value_words(key: str, value: Any) -> str:
    if key in _TIMES:
        text = date_text(parse_time(value))
    elif isinstance(value, str):
        text = value
    elif isinstance(value, dict) and "$blob" in value:
        text = f"({value['size']:,} bytes, {value['$blob'][:12]})"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"
