"""Every setting of an installation: its default, its unit and its reason, read from `PERDURE_*` variables and arguments.

What belongs to one workflow (its timeout, its retries) stands in the definition, not here. Inside, durations are whole
microseconds and sizes are bytes; from outside they are written `50ms`, `5s`, `1m`, `2h`, `3d` and `512`, `64KB`, `64MB`,
`1GB` (powers of 1,024).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from perdure.errors import Refused
from perdure.labels import labels_from, labels_text, read_labels

PREFIX = "PERDURE_"
OF_COMMANDS = ("PERDURE_DEBUG",)  # what only the command line reads

_DURATION_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_SIZE_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d+)\s?(B|KB|MB|GB)?", re.ASCII | re.IGNORECASE)
_DURATION_MAX = 100 * 365 * _DURATION_UNITS["d"]  # a hundred years, as in definitions: what is meant is `never`


def _read_duration(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"Expected a duration such as 50ms or 5s, but got {value!r}.")
    if isinstance(value, int):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"Expected a duration such as 50ms, 5s, 1m, 2h or 3d, but got {value!r}.")
    whole, _, fraction = match[1].partition(".")
    unit = _DURATION_UNITS[match[2]]
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def _read_keeping(value: Any) -> int | None:
    if value is None or value == "forever":
        return None
    try:
        duration = _read_duration(value)
    except ValueError:
        raise ValueError(f"Expected a duration such as 12h or 30d, or `forever`, but got {value!r}.") from None
    if not 0 <= duration <= _DURATION_MAX:
        raise ValueError(f"Expected at most a hundred years, or `forever`, but got {value!r}.")
    return duration


def _read_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"Expected a size such as 1024 or 64MB, but got {value!r}.")
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"Expected a size such as 1024, 64KB or 64MB, but got {value!r}.")
    return int(match[1]) * _SIZE_UNITS[(match[2] or "").upper()]


def _read_number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d+", value.strip(), re.ASCII):
        return int(value)
    raise ValueError(f"Expected a whole number, but got {value!r}.")


def _read_options(value: Any) -> dict[str, dict[str, Any]]:
    try:
        options = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"Expected a JSON object of objects, but it is not JSON: {error}.") from None
    if not isinstance(options, dict) or not all(isinstance(each, dict) for each in options.values()):
        raise ValueError('Expected a JSON object of objects, such as {"notify": {"channels": {…}}}, but got something else.')
    return options


def _read_worker_labels(value: Any) -> dict[str, str]:
    if value == "none":
        return {}
    return labels_from(value) if isinstance(value, str) else read_labels(value)


Duration = Annotated[int, BeforeValidator(_read_duration), Field(ge=0, le=_DURATION_MAX)]
"""Whole microseconds; from outside also text such as `50ms`."""

Keeping = Annotated[int | None, BeforeValidator(_read_keeping)]
"""Whole microseconds, or None for ever; from outside also text such as `30d` and `forever`."""

Size = Annotated[int, BeforeValidator(_read_size), Field(ge=0)]
"""Bytes; from outside also text such as `64MB`."""

Number = Annotated[int, BeforeValidator(_read_number), Field(ge=0)]
"""A count; from outside also digits."""

Options = Annotated[dict[str, dict[str, Any]], BeforeValidator(_read_options)]
"""Options by node type; from outside also JSON. They may hold secrets, so they are never shown."""


WorkerLabels = Annotated[dict[str, str], BeforeValidator(_read_worker_labels)]
"""Labels by name; from outside also text such as `gpu=true,region=eu`."""


def _because(reason: str, default: Any, **limits: Any) -> Any:
    return Field(default, description=reason, **limits)


class Settings(BaseModel):
    """One installation's settings, checked. Read them with `Settings.read`; they never change while a process runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    store: str = _because(
        "The SQLite file that holds everything, or the URL of a PostgreSQL database that many workers share "
        "(`postgresql://…`). A file beside the work, so that a first run needs no set-up.",
        "perdure.db",
        min_length=1,
        repr=False,  # a URL may hold a password
    )
    slots: Number = _because(
        "Effects that run at the same time. They wait for others far more than they compute, so far more than cores.",
        1_000,
        gt=0,
    )
    labels: WorkerLabels = _because(
        "What this worker has that others may not, as `gpu=true,region=eu`: it carries out the nodes whose `runs_on` asks for "
        "it. A pool is the label `pool`.",
        {},
    )
    overflow: Number = _because(
        "Attempts that may wait for a slot of a worker before new ones are left to other workers that have room. Twice what "
        "runs at once: of what waits less, most is done before another would have it. 0: none are left to others.",
        2_000,
    )
    processes: Number = _because(
        "Processes for blocking nodes and heavy evaluations, made when first needed. 0: one per core.", 0, le=1_024
    )
    commit_bytes_max: Size = _because(
        "Journal bytes in one transaction; what is beyond goes into the next. A fat commit delays every execution.",
        8 << 20,
        gt=0,
    )
    payload_max: Size = _because(
        "The largest single value: an input, an output, a signal. Larger data belongs in a file or an object store.",
        64 << 20,
        gt=0,
    )
    step_facts_max: Number = _because(
        "Facts after which a step commits and goes on in the next turn (rule 3), so that no execution holds up the others.",
        1_000,
        gt=0,
    )
    inbox_poll: Duration = _because(
        "How often what other processes left is looked for, by those whom nobody wakes; a signal is seen within this.",
        50_000,
        gt=0,
    )
    grace: Duration = _because("Time a stopped attempt has to leave by itself before its process is killed.", 5_000_000)
    watchdog: Duration = _because(
        "An async node that blocks the loop longer than this is named, and its type runs in processes from then on.",
        1_000_000,
        gt=0,
    )
    evict_after: Duration = _because(
        "An execution that only waits leaves memory after this, and is one row with a wake time.", 1_000_000
    )
    snapshot_facts: Number = _because(
        "Facts after which a state is kept as a snapshot, so that loading it costs what is recent and not its history.",
        5_000,
        gt=0,
    )
    commit_thread: Literal["auto", "always", "never"] = _because(
        "Whether commits wait for the disk in a thread. `auto`: while a flush takes more than 1 ms. A faster one stalls other "
        "executions for less than the hop to a thread would cost them.",
        "auto",
    )
    busy_timeout: Duration = _because("How long a locked database is waited for before `store.busy`.", 10_000_000)

    retention: Keeping = _because(
        "How long executions are kept after their end, unless their definition says it itself. For ever: nobody's history and "
        "nobody's idempotency keys go without being asked for.",
        None,
    )
    event_retention: Keeping = _because(
        "How long events stay in the log. For ever, for the same reason; who waits with `since: execution` sees no older ones.",
        None,
    )
    prune_every: Duration = _because(
        "How often what is over its retention is pruned. Often enough that each time there is little.",
        3_600_000_000,
        ge=1_000_000,
    )
    lease: Duration = _because(
        "On PostgreSQL: how long a worker that is not heard of keeps its executions. It is heard of three times in that; after "
        "its death others go on when it has run out.",
        6_000_000,
        ge=1_000_000,
    )

    nodes: Options = _because(
        "What the operator sets for node types and authors of workflows never see, by type: the addresses behind the channels "
        "of `notify`, for one. Not shown anywhere, as it may hold secrets.",
        {},
        repr=False,
    )

    @property
    def is_shared(self) -> bool:
        """Is the store a database that workers on other machines may share, and not a file?"""
        return "://" in self.store

    @classmethod
    def read(cls, environ: Mapping[str, str], **arguments: Any) -> Settings:
        """Settings from `PERDURE_*` variables of `environ`; `arguments` that are not None go before them.

        Raises Refused (`settings.refused`) that names every wrong setting at once.
        """
        given: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for variable, text in environ.items():
            if variable.startswith(PREFIX) and variable not in OF_COMMANDS:
                name = variable.removeprefix(PREFIX).lower()
                given[name], origins[name] = text, variable
        for name, value in arguments.items():
            if value is not None:
                given[name], origins[name] = value, name
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            sentences = [_sentence(fault, origins) for fault in error.errors()]
        raise Refused(
            "\n".join(sentences),
            remedy="Every setting with its unit and default: docs/reference/settings.md.",
            code="settings.refused",
        )


def _sentence(fault: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """One wrong setting in a sentence, under the name by which it was given."""
    reason = str(fault["msg"]).removeprefix("Value error, ")
    reason = reason.replace("Input should be greater", "Expected a value greater").replace(
        "Input should be less", "Expected a value less"
    )
    reason = reason.replace("Input should be", "Expected")
    if not fault["loc"]:
        return reason
    name = str(fault["loc"][0])
    origin = origins.get(name, name)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        shown = f"{PREFIX}{near[0].upper()}" if near and origin.startswith(PREFIX) else "".join(near)
        return f"{origin}: Expected the name of a setting" + (
            f"; did you mean {shown}?" if near else ", but there is none so called."
        )
    if fault["type"] == "value_error":
        return f"{origin}: {reason}"
    return f"{origin}: {reason}, but got {fault['input']!r}."


def settings_table() -> str:
    """All settings as a Markdown table: what `docs/reference/settings.md` shows and a house test compares."""
    lines = ["| Setting | Variable | Unit | Default | Reason |", "| --- | --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        unit = _unit(field.metadata, field.annotation)
        lines.append(
            f"| `{name}` | `{PREFIX}{name.upper()}` | {unit} | `{_shown(field.default, unit)}` | {field.description} |"
        )
    return "\n".join(lines) + "\n"


def _unit(metadata: list[Any], annotation: Any) -> str:
    readers = {
        _read_keeping: "duration",
        _read_duration: "duration",
        _read_size: "size",
        _read_number: "count",
        _read_options: "JSON object",
        _read_worker_labels: "labels",
    }
    for mark in metadata:
        if isinstance(mark, BeforeValidator) and mark.func in readers:
            return readers[mark.func]
    choices = getattr(annotation, "__args__", ())
    return " \\| ".join(choices) if choices else "text"


def _shown(value: Any, unit: str) -> str:
    """A default as a person would write it: 50000 is `50ms`, 67108864 is `64MB`."""
    if value is None:
        return "forever"
    if unit == "labels":
        return labels_text(value) or "none"
    tables = {"duration": _DURATION_UNITS, "size": {name: size for name, size in _SIZE_UNITS.items() if name != "B"}}
    for name, size in reversed(tables.get(unit, {}).items()):
        if value and value % size == 0:
            return f"{value // size}{name}"
    return str(value)
