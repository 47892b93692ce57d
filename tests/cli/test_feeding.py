"""`feed` tells every fact once, by cursors that hold after any end of the process that was told them."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import Any

import pytest
from command_line import ASK, Perdure, Process

from perdure.cli.feeding import STILL_SECONDS, Telling, lag_words
from perdure.store.contract import Batch
from perdure.store.feed import FeedLag
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import NOW, SECOND, a_turn, began

TWO = {"a": {"type": "transform", "to": 1}, "b": {"type": "transform", "after": "a", "to": 2}}


def facts(lines: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(line["execution"], line["seq"], line["fact"]) for line in lines if "fact" in line]


@pytest.fixture
def executions(perdure: Perdure) -> list[str]:
    """Three executions in a store, the second of which waits."""
    return [str(perdure.run(nodes, "--no-wait", name=f"w{n}").last["execution"]) for n, nodes in enumerate((TWO, ASK, TWO))]


# -- lines ---------------------------------------------------------------------------------------------------------------


def test_every_fact_is_a_line_that_one_can_go_on_after(perdure: Perdure, executions: list[str]) -> None:
    """In the order of each execution, without gaps; after any line come exactly those that followed it."""
    lines = perdure("feed", "--json").lines
    for execution in executions:
        seqs = [line["seq"] for line in lines if line["execution"] == execution]
        assert seqs == list(range(1, len(seqs) + 1))
        own = perdure("show", execution, "--json").lines
        assert [fact["fact"] for step in own for fact in step["facts"]] == [
            line["fact"] for line in lines if line["execution"] == execution
        ]
    assert {line["execution"] for line in lines} == set(executions)
    for number, line in enumerate(lines, 1):
        assert facts(perdure("feed", "--after", line["cursor"], "--json").lines) == facts(lines)[number:]


def test_a_limit_ends_it_and_its_last_line_goes_on(perdure: Perdure, executions: list[str]) -> None:
    """As a script does that takes some at a time, with the last cursor in a file."""
    whole, found, cursor = facts(perdure("feed", "--json").lines), [], ""
    while lines := perdure("feed", "--limit", "4", "--after", cursor, "--json").lines:
        assert len(lines) <= 4
        found += facts(lines)
        if cursor == lines[-1]["cursor"]:
            break
        cursor = lines[-1]["cursor"]
    assert found == whole


def test_one_execution_is_told_by_the_end_of_its_id(perdure: Perdure, executions: list[str]) -> None:
    """Only its facts; its cursors are of its own feed."""
    lines = perdure("feed", "--execution", executions[1][-6:], "--json").lines
    assert facts(lines) == [fact for fact in facts(perdure("feed", "--json").lines) if fact[0] == executions[1]]
    finished = perdure("feed", "--after", lines[0]["cursor"])
    assert finished.code == 2
    assert "another selection" in finished.stderr
    assert perdure("feed", "--after", lines[0]["cursor"], "--execution", executions[1], "--json").lines[0]["seq"] == 2


def test_only_what_is_new_comes_after_the_end(perdure: Perdure, executions: list[str]) -> None:
    """`--new` says the cursor at the end, from which a script goes on."""
    (line,) = perdure("feed", "--new", "--json").lines
    assert set(line) == {"cursor"}
    assert perdure("feed", "--after", line["cursor"], "--json").lines == []
    new = perdure.run(TWO, name="w9").last["execution"]
    assert {fact[0] for fact in facts(perdure("feed", "--after", line["cursor"], "--json").lines)} == {new}


def test_for_people_a_fact_is_a_line_too(perdure: Perdure, executions: list[str]) -> None:
    """When, whose, which, what and where; how to go on is said on stderr."""
    perdure.run({"bad": {"type": "fail", "code": "oh.no"}}, name="w3")
    finished = perdure("feed")
    lines = finished.stdout.splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {executions[0]}  1  started", lines[0])
    assert any(line.endswith("  done  a") for line in lines)
    assert any(line.endswith("  failed (oh.no)  bad") for line in lines)
    cursor = re.fullmatch(r"go on with: perdure feed --after (f1_\S+)\n", finished.stderr)
    assert cursor is not None
    assert perdure("feed", "--after", cursor[1]).stdout == ""


def test_rule_64_what_was_pruned_is_told_as_a_gap(perdure: Perdure, executions: list[str]) -> None:
    """In the place where it is missing, once; a cursor behind it hears nothing."""
    lines = perdure("feed", "--json").lines
    index = next(number for number, line in enumerate(lines) if line["execution"] == executions[2])
    assert perdure("prune", "--older-than", "1us", "--workflow", "w2").code == 0
    finished = perdure("feed", "--after", lines[index]["cursor"], "--json")
    assert finished.lines[0] == {"gap": True}
    assert set(finished.last) == {"cursor"}
    assert "pruned before they were read" in finished.stderr
    assert perdure("feed", "--after", finished.last["cursor"], "--json").lines == []
    assert perdure("feed", "--after", lines[-1]["cursor"], "--json").stderr == ""
    gone = perdure("feed", "--execution", executions[2])
    assert gone.code == 2


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--after", "x"), "it is none, or only part of one"),
        (("--after", "f1_AAAA", "--new"), "got both"),
        (("--store", "elsewhere.db"), "There is no store at"),
        (("--execution", "zzzz"), "no execution"),
    ],
)
def test_what_cannot_be_told_is_refused(perdure: Perdure, executions: list[str], arguments: tuple[str, ...], said: str) -> None:
    """With a sentence and a remedy, and nothing on stdout."""
    finished = perdure("feed", *arguments)
    assert (finished.code, finished.stdout) == (2, "")
    assert said in finished.stderr


# -- following -----------------------------------------------------------------------------------------------------------


def until(process: Process, execution: str, **wanted: Any) -> None:
    """Read on until such a fact of the execution."""
    process.until(lambda line: line.get("execution") == execution and wanted.items() <= line.items())


@pytest.mark.parametrize("on", ["a file", "PostgreSQL"])
def test_rule_63_who_follows_and_is_killed_goes_on_where_it_was(
    perdure: Perdure, on: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any line, again and again, while executions run: together they were told every fact, and none twice."""
    if on == "PostgreSQL":
        monkeypatch.setenv("PERDURE_STORE", request.getfixturevalue("postgres_place").url)
    first = perdure.run(TWO, name="w0").last["execution"]
    told: list[tuple[str, int, str]] = []
    cursor, execution = "", first
    for number in range(1, 4):
        follower = perdure.start("feed", "--follow", "--after", cursor)
        until(follower, execution, fact="ended")
        execution = perdure.run(TWO, name=f"w{number}").last["execution"]
        until(follower, execution, seq=number)
        follower.popen.send_signal(signal.SIGKILL)
        follower.popen.wait()
        told += facts(follower.lines)
        cursor = follower.lines[-1]["cursor"]
    told += facts(perdure("feed", "--after", cursor, "--json").lines)
    assert told == facts(perdure("feed", "--json").lines)


def test_who_follows_leaves_in_good_order(perdure: Perdure, executions: list[str]) -> None:
    """On Ctrl-C and SIGTERM, with how to go on."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        follower = perdure.start("feed", "--follow", "--new")
        cursor = follower.until(lambda line: True)["cursor"]
        follower.popen.send_signal(number)
        finished = follower.end()
        assert finished.code == code
        assert finished.stderr == f"stopped; go on with: perdure feed --after {cursor}\n"


def test_a_long_feed_can_be_interrupted(perdure: Perdure, executions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is always more: the store answers without suspending, so nothing else would let a signal in."""
    monkeypatch.setattr("perdure.operations.feed.STEPS", 1)
    told: list[int] = []

    def tell(self: Telling, found: Any) -> bool:
        told.append(len(found.facts))
        if len(told) == 1:
            signal.raise_signal(signal.SIGTERM)
        return len(told) == 5  # nobody has interrupted it

    monkeypatch.setattr(Telling, "_tell", tell)
    assert perdure("feed").code == 143
    assert len(told) < 5


# -- lag -----------------------------------------------------------------------------------------------------------------


def test_a_file_is_never_behind(perdure: Perdure, executions: list[str]) -> None:
    """One transaction writes at a time."""
    assert perdure("feed", "--lag").stdout == "nothing holds the feed up\n"
    assert perdure("feed", "--lag", "--json").lines == [{"lag_us": 0, "waits_since": None, "transaction": None}]


def test_why_the_feed_stands_still_is_told(
    perdure: Perdure, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `--lag`, and once to who follows: for how long what waits, for whom, and how to end it."""
    monkeypatch.setenv("PERDURE_STORE", postgres_place.url)

    async def write() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        postgres_place.sql("BEGIN")
        postgres_place.sql("CREATE TABLE elsewhere ()")
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))

    asyncio.run(write())
    ((pid,),) = postgres_place.sql("SELECT pg_backend_pid()")
    finished = perdure("feed", "--lag")
    assert finished.code == 0
    assert finished.stdout.startswith("the feed stands still: what was written ")
    assert finished.stdout.endswith(f"SELECT pg_terminate_backend({pid})\n")
    (line,) = perdure("feed", "--lag", "--json").lines
    assert line["lag_us"] > STILL_SECONDS * SECOND
    assert line["transaction"]["pid"] == pid
    postgres_place.sql("ROLLBACK")
    assert perdure("feed", "--lag").stdout == "nothing holds the feed up\n"


def test_who_follows_hears_of_a_transaction_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Not while it waits for a moment only, nor again for the same one."""
    telling = Telling(None, cursor="", limit=0, json=True)
    still = int(STILL_SECONDS * SECOND)
    for waits in (None, NOW - still + 1, NOW - still, NOW - 2 * still):
        telling._tell_still(FeedLag(now=NOW, waits=waits, began=NOW - 3 * still, who="process 7, user u", pid=7))
    telling._tell_still(None)
    (said,) = capsys.readouterr().err.splitlines()
    assert "what was written 10.0 s ago, and since, waits for a transaction that began at " in said
    telling._tell_still(FeedLag(now=NOW, waits=NOW - still, began=None, who="prepared as x", pid=0))
    assert capsys.readouterr().err.endswith("waits for a transaction (prepared as x)\n")
    assert lag_words(FeedLag(now=NOW, waits=None, began=None, who="w", pid=1)).startswith("nothing waits; what is written now ")
