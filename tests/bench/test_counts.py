"""The guard on costs: nothing costs more than the record allows, and what is made worse on purpose is noticed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import events, machine
from perdure.ids import instance_path
from perdure.runtime import gathering
from perdure.runtime.home import Home
from perdure.store.sqlite.connection import Database

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.counts import record, tables  # noqa: E402 - the folder is no installed package
from bench.counts.__main__ import PAGE, main  # noqa: E402 - as above
from bench.counts.counting import COUNTS, counts_of  # noqa: E402 - as above
from bench.counts.record import Figure, Record  # noqa: E402 - as above
from bench.counts.workloads import WORKLOADS  # noqa: E402 - as above
from bench.pages import placed  # noqa: E402 - as above

measured = pytest.mark.not_replayed("what it costs is counted, and a second reading costs as well")


# -- what holds now -----------------------------------------------------------------------------------------------------


@measured
def test_nothing_costs_more_than_the_record_allows() -> None:
    """Every count of every workload is at most what was accepted."""
    now = {name: counts_of(workload()) for name, workload in WORKLOADS.items()}
    failed = [difference.sentence for difference in record.differences(record.read(), now) if difference.fails]
    assert not failed, "\n".join(failed)


@measured
def test_counts_are_the_same_in_every_process() -> None:
    """Neither the seed of hashes nor what ran before changes any of them."""
    program = (
        "import json; from bench.counts.counting import counts_of; from bench.counts.workloads import WORKLOADS; "
        "print(json.dumps(counts_of(WORKLOADS['data']())))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    elsewhere, here = json.loads(ran.stdout), counts_of(WORKLOADS["data"]())
    assert here.pop("blocks") == pytest.approx(elsewhere.pop("blocks"), rel=COUNTS["blocks"].tolerance / 2)
    assert here == elsewhere


def test_the_page_bears_the_record() -> None:
    """What stands between the markers is what was accepted last: `make counts` with `--accept` writes both."""
    page = PAGE.read_text(encoding="utf-8")
    assert placed(page, tables.NAME, tables.markdown(record.read())) == page


# -- what is made worse on purpose --------------------------------------------------------------------------------------


def a_statement_more(patch: pytest.MonkeyPatch) -> None:
    commit = sys.modules["perdure.store.sqlite.commit"]
    original = commit._write_rows  # type: ignore[attr-defined]  # what each transaction of a turn comes to

    def write(database: Database, *given: Any) -> Any:
        database.all("SELECT 1")
        return original(database, *given)

    patch.setattr(commit, "_write_rows", write)


def a_fact_more(patch: pytest.MonkeyPatch) -> None:
    original = machine.Step.settle

    def settle(step: machine.Step) -> bool:
        step.emit(events.Late(node="n0", what="nothing"))
        return original(step)

    patch.setattr(machine.Step, "settle", settle)


def an_object_more(patch: pytest.MonkeyPatch) -> None:
    original, kept = machine.evolve, list[object]()

    def evolve(*given: Any) -> None:
        kept.append(object())
        original(*given)

    patch.setattr(machine, "evolve", evolve)


def a_call_more(patch: pytest.MonkeyPatch) -> None:
    original = machine.evolve

    def evolve(*given: Any) -> None:
        instance_path("", "n0", 1)
        original(*given)

    patch.setattr(machine, "evolve", evolve)


def a_byte_more(patch: pytest.MonkeyPatch) -> None:
    original = gathering.encode_row
    patch.setattr(gathering, "encode_row", lambda *given: original(*given) + b"\0")


def a_flush_more(patch: pytest.MonkeyPatch) -> None:
    original = Database.commit

    def commit(database: Database) -> None:
        original(database)
        database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    patch.setattr(Database, "commit", commit)


def a_task_more(patch: pytest.MonkeyPatch) -> None:
    original = Home.write

    async def write(home: Home, turn: gathering.Gathering) -> bool:
        return await asyncio.create_task(original(home, turn))

    patch.setattr(Home, "write", write)


@measured
@pytest.mark.parametrize(
    "worsen, count",
    [
        (a_statement_more, "statements"),
        (a_fact_more, "facts"),
        (an_object_more, "blocks"),
        (a_call_more, "engine calls"),
        (a_byte_more, "journal bytes"),
        (a_flush_more, "flushes"),
        (a_task_more, "tasks"),
    ],
    ids=lambda given: getattr(given, "__name__", given),
)
def test_what_is_made_worse_fails(
    worsen: Callable[[pytest.MonkeyPatch], None], count: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The sentence names the workload, the count, then and now, what a step cost and costs, and the remedy."""
    recorded = record.read()
    only = Record(recorded.version, recorded.python, recorded.sqlite, {"fan-out": recorded.workloads["fan-out"]})
    worsen(monkeypatch)
    now = counts_of(WORKLOADS["fan-out"]())
    failed = {each.count: each.sentence for each in record.differences(only, {"fan-out": now}) if each.fails}
    before = recorded.workloads["fan-out"][count].accepted
    assert f"fan-out: {count} ({COUNTS[count].meaning}) grew from {before:,} to {now[count]:,} (" in failed[count]
    assert "a step); expected " in failed[count]
    assert failed[count].endswith("make counts ARGS='--accept \"why\"'.")


# -- the record ---------------------------------------------------------------------------------------------------------


def recorded(**figures: Figure) -> Record:
    """A record of the chain, with the versions that run here."""
    named = {name.replace("_", " "): figure for name, figure in figures.items()}
    return Record("1.0.0", record.python(), record.sqlite(), {"chain": named})


def said(of: Record, **counts: int) -> list[tuple[str, bool]]:
    """Which counts of the chain differ, and whether that fails."""
    now = {"chain": {name.replace("_", " "): value for name, value in counts.items()}}
    return [(each.count, each.fails) for each in record.differences(of, now)]


def test_one_more_fails_where_counts_are_exact_and_less_is_only_said() -> None:
    """What fell is a hint, so that the guard can be made as tight as it may be."""
    known = recorded(facts=Figure(100, 100))
    assert said(known, facts=100) == []
    assert said(known, facts=101) == [("facts", True)]
    assert said(known, facts=99) == [("facts", False)]


def test_what_is_counted_in_hundreds_may_grow_a_little() -> None:
    """Two in a hundred, and less is not spoken of either; another Python may take ten."""
    known = recorded(calls=Figure(1_000, 1_000))
    assert said(known, calls=1_020) == said(known, calls=980) == []
    assert said(known, calls=1_021) == [("calls", True)]
    assert said(known, calls=979) == [("calls", False)]
    elsewhere = Record("1.0.0", "3.99", record.sqlite(), known.workloads)
    assert said(elsewhere, calls=1_100) == []
    assert said(elsewhere, calls=1_101) == [("calls", True)]
    assert "counted with" in tables.text(elsewhere, {"chain": {"calls": 1_100}})
    assert "counted with" not in tables.text(known, {"chain": {"calls": 1_100}})


def test_a_count_that_is_not_known_or_not_counted_fails() -> None:
    """Neither a new count nor a lost one goes unnoticed."""
    known = recorded(facts=Figure(1, 1), rows=Figure(1, 1))
    assert said(known, facts=1, flushes=1) == [("flushes", True), ("rows", True)]
    assert [each.fails for each in record.differences(known, {})] == [True, True]


def test_what_is_accepted_bears_its_note_until_the_next_release() -> None:
    """A later note is of what grew later; what fell is kept without one; a small growth does not creep."""
    known = recorded(
        facts=Figure(100, 100), rows=Figure(100, 110, "an index"), flushes=Figure(9, 9), calls=Figure(1_000, 1_000)
    )  # fmt: skip
    now = {"chain": {"facts": 120, "rows": 110, "flushes": 8, "calls": 1_010, "tasks": 3}}
    after = record.accepted(known, now, "a fact for each twin").workloads["chain"]
    assert after == {
        "facts": Figure(100, 120, "a fact for each twin"), "rows": Figure(100, 110, "an index"), "flushes": Figure(9, 8),
        "calls": Figure(1_000, 1_000), "tasks": Figure(3, 3),
    }  # fmt: skip
    less = record.accepted(known, {"chain": {"rows": 105}}, "a smaller index").workloads["chain"]
    assert less == {"rows": Figure(100, 105, "an index")}
    assert record.released(now).workloads["chain"]["facts"] == Figure(120, 120)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """One line for each count, whatever a note holds."""
    known = recorded(facts=Figure(1, 2, 'more of "them" – why not'), log_pages=Figure(3, 3))
    record.write(known, tmp_path / "released.json")
    assert record.read(tmp_path / "released.json") == known
    written = (tmp_path / "released.json").read_text(encoding="utf-8")
    assert '   "log pages": {"released": 3, "accepted": 3, "note": ""}\n' in written


def test_growth_without_a_note_is_refused(tmp_path: Path) -> None:
    """Neither a file that was edited by hand nor an empty reason is taken."""
    record.write(recorded(facts=Figure(1, 2, " ")), tmp_path / "released.json")
    with pytest.raises(ValueError, match=r"chain: expected a note why facts may grow from 1 to 2, but there is none\."):
        record.read(tmp_path / "released.json")
    with pytest.raises(ValueError, match="Expected a note"):
        record.accepted(recorded(facts=Figure(1, 1)), {"chain": {"facts": 2}}, "")


# -- the command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the command counts of each workload: what the record allows, unless a test changes it."""
    counts = dict.fromkeys(COUNTS, 1_000)
    monkeypatch.setattr("bench.counts.__main__.counts_of", lambda workload: dict(counts))
    return counts


def test_the_command_fails_until_growth_is_accepted(
    counted: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    """It shows then, now and the change; `--accept` writes the record and the page, `--release` begins anew."""
    file, page = tmp_path / "released.json", tmp_path / "speed.md"
    page.write_text("# Speed\n<!-- counts:begin -->\n<!-- counts:end -->\nend\n")
    assert main(["--release"], file=file, page=page) == 0
    assert "Nothing costs more than in" in page.read_text()
    counted["rows"] = 1_001
    capsys.readouterr()
    assert main([], file=file, page=page) == 1
    shown = capsys.readouterr().out
    assert "rows                1,000      1,000      1,001    +0.1%" in shown
    assert "FAIL chain: rows (rows written) grew from 1,000 to 1,001" in shown
    assert main(["--accept", "a row for each twin"], file=file, page=page) == 0
    assert "| chain | rows | 1,000 | 1,001 | a row for each twin |" in page.read_text()
    assert main(["--release"], file=file, page=page) == 0
    assert "twin" not in file.read_text() + page.read_text()


def test_the_command_takes_no_empty_reason(counted: dict[str, int], tmp_path: Path) -> None:
    """Nothing is counted or written then."""
    with pytest.raises(SystemExit):
        main(["--accept", " "], file=tmp_path / "released.json", page=tmp_path / "speed.md")
    assert not list(tmp_path.iterdir())
