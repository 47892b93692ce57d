"""A store that is locked, full, read-only, newer or damaged: a sentence, exit code 2, nothing started and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from command_line import ASK, Perdure

ONE = {"a": {"type": "transform", "to": 1}}
NOBODY = 65_534


@contextmanager
def changed(perdure: Perdure) -> Iterator[apsw.Connection]:
    """The store behind everybody's back."""
    with closing(apsw.Connection(str(perdure.store))) as connection:
        yield connection


def do(perdure: Perdure, sql: str) -> None:
    with changed(perdure) as connection:
        connection.execute(sql)
        assert connection.changes() or sql.startswith("PRAGMA")


# -- locked --------------------------------------------------------------------------------------------------------------


def test_a_store_that_somebody_keeps_locked(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """What writes waits as long as it may and then says so; what only reads needs no lock; afterwards all is as before."""
    monkeypatch.setenv("PERDURE_BUSY_TIMEOUT", "100ms")
    file = perdure.flow(ASK)
    execution = perdure("run", file, "--no-wait", "--json").last["execution"]
    with changed(perdure) as other:
        other.execute("BEGIN IMMEDIATE")
        for command in (("run", file), ("resume",), ("signal", execution, "go"), ("emit", "tick"), ("cancel", execution)):
            refused = perdure(*command)
            assert (refused.code, refused.stdout) == (2, ""), refused
            assert "[store.busy]" in refused.stderr
            assert "Try again" in refused.stderr
        for command in (("list",), ("show", execution), ("incidents",), ("events",), ("verify",)):
            assert perdure(*command).code == 0
    assert [line["execution"] for line in perdure("list", "--json").lines] == [execution]
    perdure("signal", execution, "go")
    assert perdure("resume").code == 0


# -- full ----------------------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(perdure: Perdure) -> None:
    """Writes fail from some size on: the run says so with exit code 2; with room again `resume` finishes it."""
    nodes = {
        f"n{number}": {
            "type": "test.large",
            "with": {"size": 100_000 + number},
            **({"after": f"n{number - 1}"} if number else {}),
        }
        for number in range(20)
    }
    file = perdure.flow(nodes, output="${ len(nodes.n19) }")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))

    stopped = subprocess.run(
        [sys.executable, "-m", "perdure", "run", file, "--json"], cwd=perdure.folder, capture_output=True, text=True,
        preexec_fn=limit, check=False, timeout=60,
    )  # fmt: skip
    assert stopped.returncode == 2, stopped
    assert "[store.full]" in stopped.stderr
    assert "Make room" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    done = [line["node"] for line in map(json.loads, stopped.stdout.splitlines()) if line.get("fact") == "done"]
    assert 0 < len(done) < 20
    assert perdure("verify").code == 0
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["output"]) == (0, 100_019)
    again = {line["node"] for line in resumed.lines if line.get("fact") == "scheduled" and "execution" in line}
    facts = [(line["fact"], line["node"]) for line in resumed.lines if line.get("fact") == "done"]
    assert len(facts) == len(set(facts)) == 20, "Expected each result once."
    assert again >= set(nodes) - set(done)


# -- read-only -----------------------------------------------------------------------------------------------------------


@contextmanager
def as_somebody_who_may_not_write() -> Iterator[None]:
    """Root may write everywhere: become nobody for a while. Whoever is somebody else stays who they are."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder and all in it may be read by everybody and written by none, and can be reached."""
    above = [each for each in folder.parents if each.stat().st_uid == os.getuid() and each != Path("/")]
    before = {each: each.stat().st_mode for each in (*above, folder, *folder.rglob("*"))}
    for each in above:
        each.chmod(0o755)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    try:
        yield
    finally:
        for each, mode in before.items():
            each.chmod(mode)


def test_a_store_that_may_not_be_written(perdure: Perdure) -> None:
    """File and folder are read-only: a sentence that names the file, exit code 2, and nothing was started."""
    folder = perdure.folder / "there"
    folder.mkdir()
    store = ("--store", folder / "perdure.db")
    file = perdure.flow(ONE)
    assert perdure("run", file, *store).code == 0  # and all that a run imports is imported by now
    assert perdure("list", *store).code == 0
    with read_only(folder), as_somebody_who_may_not_write():
        for command in ("run", file), ("resume",), ("list",):
            refused = perdure(*command, *store)
            assert (refused.code, refused.stdout) == (2, ""), refused
            assert "[store.read_only]" in refused.stderr
            assert str(folder / "perdure.db") in refused.stderr
    assert len(perdure("list", "--json", *store).lines) == 1


def test_a_store_in_a_folder_that_may_not_be_entered(perdure: Perdure) -> None:
    """Nobody can tell whether there is one: that is what is said."""
    folder = perdure.folder / "closed"
    folder.mkdir()
    perdure("run", perdure.flow(ONE), "--store", "closed/perdure.db")
    with read_only(folder), as_somebody_who_may_not_write():
        with as_root():
            folder.chmod(0o600)
        refused = perdure("list", "--store", folder / "perdure.db")
    assert refused.code == 2, refused
    assert "Permission denied" in refused.stderr


@contextmanager
def as_root() -> Iterator[None]:
    """Who one was before, for a moment."""
    who = os.geteuid()
    os.seteuid(os.getuid())
    try:
        yield
    finally:
        os.seteuid(who)


@pytest.mark.parametrize("place", ["x" * 5_000, "flow.json/perdure.db", "gone/perdure.db"])
def test_a_place_where_no_store_can_be(perdure: Perdure, place: str) -> None:
    """Too long a name, a file in place of a folder, a folder that does not exist: exit code 2, whatever was asked."""
    file = perdure.flow(ONE)
    for command in ("list",), ("resume",), ("verify",), ("run", file):
        refused = perdure(*command, "--store", place)
        assert (refused.code, refused.stdout) == (2, ""), refused
        assert "[store." in refused.stderr or "[not_found]" in refused.stderr
        assert "PERDURE_DEBUG" not in refused.stderr


@pytest.mark.parametrize(
    "command",
    [("list",), ("show", "ex_1"), ("incidents",), ("verify",), ("resume",), ("signal", "ex_1", "x"), ("cancel", "ex_1")],
)
def test_no_command_but_run_makes_a_store(perdure: Perdure, command: tuple[str, ...]) -> None:
    """Whoever mistypes the store's name is told, and finds no empty store there afterwards."""
    refused = perdure(*command, "--store", "mistyped.db")
    assert (refused.code, refused.stdout) == (2, "")
    assert "There is no store at mistyped.db." in refused.stderr
    assert not list(perdure.folder.glob("mistyped*"))


# -- newer ---------------------------------------------------------------------------------------------------------------


def test_an_execution_of_a_newer_level(perdure: Perdure) -> None:
    """It is listed, but neither shown nor gone on with: this release cannot read it. It stays as it is."""
    execution = perdure.run(ASK, "--no-wait").last["execution"]
    do(perdure, "UPDATE executions SET level = 99")
    do(perdure, "UPDATE journal SET level = 99")
    assert [line["execution"] for line in perdure("list", "--json").lines] == [execution]
    for command in ("show", execution), ("resume", execution), ("resume",):
        refused = perdure(*command)
        assert refused.code == 2, refused
        assert "level 99" in refused.stderr
        assert "Upgrade" in refused.stderr
    assert perdure("verify").code == 1
    do(perdure, "UPDATE executions SET level = 1")
    do(perdure, "UPDATE journal SET level = 1")
    perdure("signal", execution, "go")
    assert perdure("resume").code == 0


def test_a_store_of_a_newer_schema(perdure: Perdure) -> None:
    """Nothing of it is read, nothing is written."""
    perdure.run(ONE)
    do(perdure, "PRAGMA user_version = 99")
    for command in ("run", perdure.flow(ONE)), ("list",), ("resume",), ("verify",):
        refused = perdure(*command)
        assert (refused.code, refused.stdout) == (2, ""), refused
        assert "[store.too_new]" in refused.stderr
    do(perdure, "PRAGMA user_version = 1")
    assert len(perdure("list", "--json").lines) == 1


def test_another_applications_database_is_left_alone(perdure: Perdure) -> None:
    """A SQLite file that is no store is named as such, and no table is made in it."""
    with closing(apsw.Connection(str(perdure.folder / "other.db"))) as other:
        other.execute("CREATE TABLE mine (x)")
    before = (perdure.folder / "other.db").read_bytes()
    refused = perdure("run", perdure.flow(ONE), "--store", "other.db")
    assert (refused.code, refused.stdout) == (2, "")
    assert "another application's database" in refused.stderr
    assert (perdure.folder / "other.db").read_bytes() == before


# -- damaged -------------------------------------------------------------------------------------------------------------


def test_an_execution_whose_journal_is_damaged(perdure: Perdure) -> None:
    """It cannot be shown or gone on with, and says so; the others of the store are not touched by it."""
    damaged = perdure.run(ASK, "--no-wait", name="damaged").last["execution"]
    sound = perdure.run(ASK, "--no-wait", name="sound").last["execution"]
    do(perdure, "UPDATE journal SET body = x'c1' WHERE execution = (SELECT min(execution) FROM executions)")
    shown = perdure("show", damaged)
    assert (shown.code, shown.stdout) == (2, ""), shown
    assert "[store.damaged]" in shown.stderr
    assert "perdure verify" in shown.stderr
    found = perdure("verify")
    assert found.code == 1
    assert found.stdout.splitlines()[0].startswith(f"{damaged}: the journal row at fact 1 cannot be read")
    perdure("signal", sound, "go")
    resumed = perdure("resume", "--json")
    assert resumed.code == 2
    assert (resumed.last["execution"], resumed.last["status"]) == (sound, "succeeded")
    assert damaged in resumed.stderr
    listed = perdure("incidents")
    assert "Traceback" not in listed.stderr
    assert listed.code in (0, 2)


def test_a_large_value_that_is_gone(perdure: Perdure) -> None:
    """The output of an execution is missing: whoever asks for it is told."""
    finished = perdure.run({"a": {"type": "test.large", "with": {"size": 5_000}}})
    do(perdure, "DELETE FROM blobs")
    shown = perdure("show", finished.last["execution"])
    assert shown.code == 0
    assert "gone from the store" in shown.stdout
    found = perdure("verify", "--json")
    assert found.code == 1
    assert found.last["findings"] == 1
    assert found.lines[0]["finding"].endswith(" is missing")
