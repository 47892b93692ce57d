"""Attacks on journals: rows of golden journals with bytes flipped, cut off or exchanged, or with other values inside.

They are put into a store as if a home had written them. Whoever reads the store then must say in its own words what is wrong:
`verify`, `show`, `why`, and a home that is to go on with it, which sets it aside and goes on with all others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from attacked_definitions import catalog
from hypothesis import strategies as st

from perdure.definition import check_document
from perdure.definition.canonical import canonical
from perdure.engine.codec import LEVEL, decode_row
from perdure.errors import PerdureError
from perdure.ids import ExecutionId
from perdure.nodes.work import Work
from perdure.operations.explaining import explain, explanation_object
from perdure.operations.verification import Verification
from perdure.runtime.plans import Plans, works_for
from perdure.store.contract import STATUS_NUMBER, TENANT, Batch, Blob, Definition, Start, Store, Turn
from perdure.testing.rehearsal import EFFECT, EXECUTION
from perdure.testing.world import Process, World, act, workflow_of

JOURNALS = Path(__file__).parents[1] / "engine" / "journals"
ROWS_MAX = 40
"""Longer journals are left out: their rows say nothing that those of the others do not."""
PATHS_MAX = 12

ODD: list[Any] = [
    None, True, 0, -1, 1, 2, 7, 2**62, -(2**63), 1.5, "", "x", "a", "a.body", "a#2", "a[0]", "body", "out", "error",
    "é\u202e", [],
    {}, [1], {"a": 1}, b"", b"\x00" * 16, msgspec.msgpack.Ext(1, b"\x00" * 40), msgspec.msgpack.Ext(1, b""),
    msgspec.msgpack.Ext(7, b"x"),
]  # fmt: skip


class Kept(msgspec.Struct, frozen=True):
    """A golden journal, as far as it is needed here."""

    definition: dict[str, Any]
    rows: list[bytes]
    ats: list[int]
    blobs: dict[bytes, bytes]


@cache
def golden() -> dict[str, Kept]:
    """All golden journals that are not too long."""
    found = {}
    for file in sorted(JOURNALS.glob("*.json")):
        kept = json.loads(file.read_text())
        if len(kept["rows"]) <= ROWS_MAX and len(file.read_bytes()) < 100_000:
            found[file.stem] = Kept(
                kept["definition"], [base64.b64decode(row["body"]) for row in kept["rows"]],
                [row["at"] for row in kept["rows"]],
                {bytes.fromhex(digest): base64.b64decode(body) for digest, body in kept["blobs"].items()},
            )  # fmt: skip
    return found


@cache
def all_rows() -> list[bytes]:
    return [row for kept in golden().values() for row in kept.rows]


# -- cases ----------------------------------------------------------------------------------------------------------------


def journal_cases() -> st.SearchStrategy[dict[str, Any]]:
    which = st.integers(0, 1_000_000)
    deeds = st.lists(st.tuples(st.integers(0, 11), which, which, which), min_size=1, max_size=3)
    return st.builds(_damaged, st.sampled_from(sorted(golden())), deeds)


def _damaged(name: str, deeds: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    rows = list(golden()[name].rows)
    for deed, where, what, other in deeds:
        at = where % len(rows)
        rows[at : at + 1] = _deed(rows, at, deed, what, other)
        if not rows:
            break
    return {"journal": name, "rows": [base64.b64encode(row).decode() for row in rows]}


def _deed(rows: list[bytes], at: int, deed: int, what: int, other: int) -> list[bytes]:
    """What stands in the place of one row."""
    row, place = rows[at], what % max(1, len(rows[at]))
    if deed == 0:
        return [row[:place] + bytes([row[place] ^ (1 << other % 8)]) + row[place + 1 :] if row else row]
    if deed == 1:
        return [row[:place]]
    if deed == 2:
        return []
    if deed == 3:
        return [row, row]
    if deed == 4:
        return [all_rows()[other % len(all_rows())]]
    if deed == 5:
        return [row, all_rows()[other % len(all_rows())]]
    if deed == 6:
        stranger = all_rows()[other % len(all_rows())]
        return [row[:place] + stranger[place:]]
    return [_revalued(row, deed, what, other)]


def _revalued(row: bytes, deed: int, what: int, other: int) -> bytes:
    """The same row with one value in it replaced, taken out, doubled, or exchanged: it may well be decoded."""
    try:
        body = msgspec.msgpack.decode(row)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return row
    there = list(_places(body))
    if not there:
        return row
    holder, key = there[what % len(there)]
    if deed == 7:
        holder[key] = ODD[other % len(ODD)]
    elif deed == 8:
        del holder[key]
    elif deed == 9 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif deed == 10:
        donor, name = there[other % len(there)]
        holder[key], donor[name] = donor[name], holder[key]
    else:
        holder[key] = _near(holder[key], other)
    try:
        return msgspec.msgpack.encode(body)
    except (RecursionError, TypeError, ValueError, OverflowError):
        return row  # a value that was put inside of itself


def _near(value: Any, other: int) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return (value + 1, value - 1, -value, value * 1_000, 0)[other % 5]
    if isinstance(value, str):
        return (value + "x", value[:-1], value + "[1]", value + "#2", value.upper())[other % 5]
    return ODD[other % len(ODD)]


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        yield holder, key
        if isinstance(value, dict | list):
            yield from _places(value)


# -- the attack -----------------------------------------------------------------------------------------------------------


def attack_journal(case: dict[str, Any]) -> None:
    """Each reader gives what it gives, or an error of ours; the home goes on."""
    rows = [base64.b64decode(row) for row in case["rows"]]
    for row in rows:
        try:
            decode_row(row)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    kept = golden()[case["journal"]]
    world = World(works={EFFECT.name: Work(spec=EFFECT, run=_answers, blocking=False, reference="test:answers")})
    world.run(lambda: _written(world, kept, rows))
    world.run(lambda: _read(world))
    world.live(_taken_over)


async def _answers(params: Any, context: Any) -> Any:
    return "answered"


async def _written(world: World, kept: Kept, rows: list[bytes]) -> None:
    """The store as a home would have left it that has died since."""
    store = await world.place.open()
    checked = check_document(kept.definition, catalog())
    definition = Definition(
        digest=checked.digest, tenant=TENANT, name=checked.document["name"], created=1, document=canonical(checked.document),
        lock=b"{}",
    )  # fmt: skip
    await store.save_definition(definition)
    await store.save_blobs([Blob(tenant=TENANT, digest=digest, body=body) for digest, body in kept.blobs.items()])
    start = Start(
        execution=ExecutionId(EXECUTION), tenant=TENANT, workflow=definition.name, digest=checked.digest, created=1, home="gone"
    )
    first = 1
    for number, row in enumerate(rows):
        at = kept.ats[min(number, len(kept.ats) - 1)]
        count = len(_facts(kept.rows[min(number, len(kept.rows) - 1)]))
        turn = Turn(
            execution=start.execution, epoch=1, first_seq=first, count=count, at=at, level=LEVEL, body=row,
            status=STATUS_NUMBER["running"],
        )  # fmt: skip
        await store.commit(Batch(turns=[turn], starts=[start] if not number else []))
        first += count
    world.place.die(store)


@cache
def _facts(row: bytes) -> tuple[Any, ...]:
    return tuple(decode_row(row).facts)


async def _read(world: World) -> None:
    """What the commands that only read make of it."""
    from perdure.operations.executions import Executions

    store = await world.place.open()
    works = {**works_for(""), **world.works()}
    plans = Plans(store, works=lambda origin, files: works)
    async for finding in Verification(store, deep=True, plans=plans).findings():
        assert finding.sentence
    executions = Executions(store, world.clock)
    await _asked(lambda: _shown(executions))
    for path in await _paths(store):
        await _asked(lambda path=path: _told(executions, store, path))  # type: ignore[misc]
    world.place.die(store)


async def _asked(question: Any) -> None:
    with suppress(PerdureError):
        await question()


async def _shown(executions: Any) -> None:
    from perdure.operations.journal import fact_object, input_object

    shown = await executions.show(ExecutionId(EXECUTION))
    for moment in shown.timeline:
        for given in moment.inputs:
            msgspec.json.encode(input_object(given))
        for fact in moment.facts:
            msgspec.json.encode(fact_object(fact))


async def _told(executions: Any, store: Store, path: str) -> None:
    explanation_object(await explain(executions, store, ExecutionId(EXECUTION), path))


async def _paths(store: Store) -> list[str]:
    """The execution as a whole, and what the damaged journal speaks of."""
    from perdure.ids import instance_path

    found = {"": None}
    for row in await store.journal(ExecutionId(EXECUTION)):
        try:
            facts = decode_row(row.body).facts
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        for fact in facts:
            frame, node = getattr(fact, "frame", ""), getattr(fact, "node", "")
            if node:
                found[instance_path(frame, node, getattr(fact, "visit", 1))] = None
    return list(found)[:PATHS_MAX]


async def _taken_over(process: Process) -> None:
    """A home takes it over beside a sound one, and whatever becomes of the one, the other comes to its end."""
    await process.home.take([ExecutionId(EXECUTION)])
    outcome = await process.run(process.world.read(workflow_of({"a": act(gives=1)})))
    assert outcome.status == "succeeded"
