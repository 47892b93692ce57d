"""Golden journals: written once, folded for ever. By hand: `PYTHONPATH=src python tests/engine/golden.py write [case …]`.

It writes the journals that are missing and never changes one that is there: what a release has written, later ones must read.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases_of_containers
import cases_of_outside
from cases import CASES
from recording import Recording
from table_cases import TABLES

from perdure.engine.codec import decode_row, decode_value, inputs_as_given
from perdure.engine.execution import STATE_NAMES, Frame, Instance, Progress
from perdure.engine.timers import TIMER_FIELDS

RELEASE = "0.1"
JOURNALS = Path(__file__).parent / "journals"
BESIDE = (cases_of_containers, cases_of_outside, TABLES)
"""Where more cases come from, which are entered into `CASES` as these are imported."""


class Golden:
    """One kept journal: `{release, case, definition, facts_max, rows: [{at, body}], blobs, state}`, bytes in base 64."""

    def __init__(self, file: Path) -> None:
        kept = json.loads(file.read_text())
        self.case: str = kept["case"]
        self.definition: dict[str, Any] = kept["definition"]
        self.digest: str = kept["digest"]
        self.rows = [base64.b64decode(row["body"]) for row in kept["rows"]]
        self.ats: list[int] = [row["at"] for row in kept["rows"]]
        self.blobs = {bytes.fromhex(digest): base64.b64decode(body) for digest, body in kept["blobs"].items()}
        self.state: dict[str, Any] = kept["state"]

    def folded(self, rows: int | None = None) -> Recording:
        """A home that has read the first rows, all by default."""
        count = len(self.rows) if rows is None else rows
        play = Recording(self.definition)
        play.bodies.update(self.blobs)
        play.resident.update({digest: decode_value(body) for digest, body in self.blobs.items()})
        play.rows, play.ats = self.rows[:count], self.ats[:count]
        play.now = play.execution.at = self.ats[count - 1]
        play.refold()
        return play

    def continued(self, rows: int) -> Recording:
        """What becomes of the first rows when the inputs of the others come now, as they did then."""
        play = self.folded(rows)
        for body, at in zip(self.rows[rows:], self.ats[rows:], strict=True):
            play.now = at
            play.take(*inputs_as_given(decode_row(body)))
        return play


def journals() -> list[Path]:
    """All kept journals."""
    return sorted(JOURNALS.glob("*.json"))


def file_of(case: str, release: str = RELEASE) -> Path:
    return JOURNALS / f"{release}-{case}.json"


# -- the state, as far as it is promised ----------------------------------------------------------------------------------


def state_of(play: Recording) -> dict[str, Any]:
    """What anybody may ask about an execution, in words that do not change with the engine's inner form."""
    execution = play.execution
    more = {
        "paused": execution.paused_at,
        "compensations": [f"{each.frame}.{each.node}".lstrip(".") for each in execution.compensations],
        "detached": [each.execution.hex() for each in execution.detached],
    }
    return {
        **{name: value for name, value in more.items() if value},
        "status": execution.status,
        "output": play.value(execution.output),
        "error": _error(execution.error),
        "facts": execution.seq,
        "frames": {
            path: {
                "variables": {name: play.value(raw) for name, raw in frame.variables.items()},
                "leaving": frame.departure.kind if frame.departure is not None else "",
                "nodes": {name: _instance(play, frame.instances[name]) for name in sorted(frame.instances)},
                **_frame(play, frame),
            }
            for path, frame in execution.frames.items()
        },
        "signals": [{"name": kept.name, "key": kept.key, "payload": play.value(kept.payload)} for kept in execution.signals],
        "due": play.index.next_due(execution),
    }


def _frame(play: Recording, frame: Frame) -> dict[str, Any]:
    """What a frame may have beside variables and nodes, as far as it has it."""
    told = {
        "visits": frame.visits,
        "previous": {name: play.value(raw) for name, raw in frame.previous.items()},
        "returns": [f"{each.source} to {each.target}" for each in frame.returns],
        "ended": frame.closed,
        "timeout": frame.timeout_at,
    }
    return {name: value for name, value in told.items() if value}


def _progress(play: Recording, progress: Progress | None) -> dict[str, Any]:
    """How far a container has come."""
    if progress is None:
        return {}
    told = {
        "opened": progress.next,
        "open": progress.open,
        "ended": [progress.succeeded, progress.failed, progress.continued, progress.cancelled],
        "results": {str(index): play.value(raw) for index, raw in progress.results.items()},
        "chunks": len(progress.chunks),
        "carry": play.value(progress.carry),
        "named": {name: end.status for name, end in progress.named.items()},
        "winners": list(progress.winners),
    }
    return {name: value for name, value in told.items() if value not in (None, "", [], {}, 0, [0, 0, 0, 0])}


def _instance(play: Recording, instance: Instance) -> dict[str, Any]:
    told = {
        "state": STATE_NAMES[instance.state],
        "visit": instance.visit,
        "attempt": instance.attempt,
        "ports": list(instance.ports),
        "output": play.value(instance.output),
        "error": _error(instance.error),
        "cause": instance.cause,
        "generation": instance.generation,
        "unknown": instance.unknown,
        "question": instance.question if not instance.final else "",
        "stopping": instance.stopping if not instance.final else "",
        "then": instance.then if not instance.final else "",
        "due": {kind: due_of(instance) for kind, due_of in TIMER_FIELDS.items() if not instance.final and due_of(instance)},
        "lock": instance.lock,
        "progress": _progress(play, instance.progress),
    }
    return {name: value for name, value in told.items() if value not in (None, "", [], {}, False, 0)}


def _error(error: Any) -> Any:
    return None if error is None else error.as_value()


# -- writing --------------------------------------------------------------------------------------------------------------


def recorded(case: str) -> dict[str, Any]:
    """The case, played now, as it is kept."""
    play = CASES[case]()
    return {
        "release": RELEASE,
        "case": case,
        "definition": play.plan.document,
        "digest": play.plan.digest,
        "rows": [{"at": at, "body": base64.b64encode(row).decode()} for row, at in zip(play.rows, play.ats, strict=True)],
        "blobs": {digest.hex(): base64.b64encode(body).decode() for digest, body in sorted(play.bodies.items())},
        "state": state_of(play),
    }


def write(names: Sequence[str]) -> int:
    """Write the named cases, or all that are missing. Exit code: 2 where a named one stands already or does not exist."""
    refused = [name for name in names if name not in CASES or file_of(name).exists()]
    if refused:
        print(f"Expected cases that have no journal yet, but {', '.join(refused)} cannot be written: they never change.")
        return 2
    missing = [case for case in (names or CASES) if not file_of(case).exists()]
    JOURNALS.mkdir(exist_ok=True)
    for case in missing:
        file_of(case).write_text(json.dumps(recorded(case), indent=1, ensure_ascii=False) + "\n")
    print(f"{len(missing)} written, {len(CASES) - len(missing)} left as they are")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] != ["write"]:
        sys.exit("Usage: python tests/engine/golden.py write [case …]")
    sys.exit(write(sys.argv[2:]))
