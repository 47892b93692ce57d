"""Recorded workflows of science on PostgreSQL: four workers carry one graph each, two are killed, an oracle reads ledgers."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from crew import Crew, Member
from database import Database, database
from roles import NOBODY, Place, command, in_engine, note, noted, watch
from storm import QUIET_SECONDS_MAX, Storm, complaints, marked, orphans

from perdure.app import Engine, open_client
from perdure.definition.wfformat import import_wfformat, to_yaml
from perdure.ids import id_from_text, id_text
from perdure.operations.definitions import read_file

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))  # the oracle and the recordings are those of the examples

import instances
from oracle import check_ledger, critical_path, read_ledger, read_tasks

WORKERS = 4
KILLS = 2
CRITICAL_SECONDS = 1.5
"""What the critical path of each recording is scaled to: long enough to be killed in."""
LEASE = 600_000_000
"""Longer than any run: nobody is taken for dead but those who are, as soon as it is said."""


def graphs(folder: Path, *, seed: int, names: Sequence[str]) -> Storm:
    """Run each of these recordings on four workers at once, two of which are killed in the middle."""
    found = Storm(seed)
    began = time.monotonic()
    with marked(seed), Crew(folder / "logs") as crew, database(crew, folder / "server") as server:
        for name in names:
            place = Place(folder / name.partition(".")[0], "", seed, url=server.url, lease=LEASE)
            found.violations.extend(f"{name}: {sentence}" for sentence in _carried(place, crew, server, name, found))
        found.violations.extend(complaints(crew))
        verified = crew.start("verify", lambda: command(place, "verify", "--deep"))
        if verified.wait(QUIET_SECONDS_MAX):
            found.violations.append(f"`perdure verify --deep` ended with {verified.code}: {verified.said()[-3_000:]}")
    found.violations.extend(orphans())
    found.seconds = time.monotonic() - began
    return found


def _carried(place: Place, crew: Crew, server: Database, name: str, found: Storm) -> Iterator[str]:
    """Have one recording carried out by each worker, and hold each ledger against the recorded graph."""
    document = instances.instance(name).document
    tasks = read_tasks(document)
    scale = CRITICAL_SECONDS / critical_path(tasks)
    place.folder.mkdir()
    flow = place.folder / "flow.yaml"
    flow.write_text(to_yaml(import_wfformat(document, scale=scale, name="graph", node_type="science.task")))
    (place.folder / "nodes.py").write_text((instances.SCIENCE / "nodes.py").read_text())
    workers = [crew.start("worker", lambda number=number: _work(place, flow, number)) for number in range(WORKERS)]
    _wait(lambda: len(noted(place.starts)) == WORKERS, workers, "every worker to start its graph")
    killed = [_killed(worker, ledger, lines, server) for worker, ledger, lines in _blows(place, workers, len(tasks))]
    found.kills += len(killed)
    watching = crew.start("watch", lambda: watch(place))
    if watching.wait(QUIET_SECONDS_MAX):
        yield watching.said()
    for worker in workers:
        worker.kill(signal.SIGTERM)
        worker.wait(60)
    for number, end in enumerate(asyncio.run(_ends(place))):
        if end != ("succeeded", {"tasks": len(tasks)}):
            yield f"execution {number} ended {end}."
        entries = read_ledger(_ledger(place, number))
        found.audit.executions += 1
        found.audit.results += len(tasks)
        found.audit.received += sum(entry.event == "start" for entry in entries)
        found.audit.repeated += sum(entry.event == "start" for entry in entries) - len({entry.task for entry in entries})
        yield from check_ledger(tasks, entries, scale=scale, killed=killed)


def _work(place: Place, flow: Path, number: int) -> int:
    """Start an execution, and be a worker like any other from then on."""

    async def main(engine: Engine) -> None:
        given = {"ledger": str(_ledger(place, number))}
        begun = await engine.executions.start(read_file(flow), given, key=f"{place.folder.name}-{number}")
        note(place.starts, number=number, execution=id_text(begun.execution))
        await engine.home.outcome(NOBODY)

    return in_engine(place, main, adopts=True)


def _ledger(place: Place, number: int) -> Path:
    return place.folder / f"ledger-{number}.jsonl"


def _blows(place: Place, workers: list[Member], tasks: int) -> Iterator[tuple[Member, Path, int]]:
    """Who is killed, when which ledger has how many lines: anywhere in the first half, and anywhere in the second."""
    chance = random.Random(f"{place.seed} {place.folder.name}")
    chosen = chance.sample(range(len(workers)), KILLS)
    for blow, number in enumerate(chosen):
        first, last = 1 + blow * tasks, (blow + 1) * tasks
        yield workers[number], _ledger(place, number), chance.randint(first, max(first, last - 2))


def _killed(worker: Member, ledger: Path, lines: int, server: Database) -> int:
    """Kill a worker once its ledger has so many lines; its process."""
    _wait(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") >= lines, [worker], f"{lines} lines in {ledger.name}")
    worker.kill()
    worker.wait(60)
    server.bury(worker.pid)
    return worker.pid


def _wait(for_: Callable[[], bool], workers: Sequence[Member], what: str) -> None:
    """Wait until something has come, as long as these workers live."""
    until = time.monotonic() + QUIET_SECONDS_MAX
    while not for_():
        for worker in workers:
            assert worker.ended() is None, f"Expected {what}, but a worker had ended: {worker.said()[-1_000:]}"
        assert time.monotonic() < until, f"Expected {what}, but it did not come."
        time.sleep(0.005)


async def _ends(place: Place) -> list[tuple[str, object]]:
    """How the execution of each worker ended, in their order."""
    found = []
    async with open_client(place.settings()) as (_, executions):
        for line in sorted(noted(place.starts), key=lambda line: int(str(line["number"]))):
            shown = await executions.show(id_from_text(str(line["execution"])))
            found.append((shown.status, await executions.value(shown.row, shown.state.output)))
    return found
