"""The comparison with peers, without running any: what is written of a run, and whether every runner is as declared."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.pages import placed  # noqa: E402 - as above
from bench.peers import pictures, tables  # noqa: E402 - as above
from bench.peers.__main__ import RunFailed, rows, run  # noqa: E402 - as above
from bench.peers.engines import (  # noqa: E402 - as above
    ABSURD,
    DBOS,
    ENGINES,
    N8N,
    NOT_FLUSHED,
    OURS,
    OURS_ON_POSTGRES,
    PEERS,
    WORKLOADS,
    Engine,
    Load,
    Metric,
)
from bench.peers.loopback import Refused, client  # noqa: E402 - as above
from bench.peers.measures import MEASURES  # noqa: E402 - as above

from bench import workloads  # noqa: E402 - the folder is no installed package

FOLDER = ROOT / "bench" / "peers"
SHAPES = {"chain": "chain", "latency": "chain", "fan-out-100": "fan", "fan-out-1000": "fan", "loop": "loop"}
MACHINE = {"cores": 2, "load": 0.1, "system": "Linux", "machine": "x86_64", "python": "3.11.7"}
SERVER = {"postgresql": "18.4", "settings": "fsync=on, synchronous_commit=on"}


def line(engine: Engine, workload: str, *values: float) -> dict[str, Any]:
    """What a runner prints of one workload."""
    metrics = zip(WORKLOADS[workload].metrics, values, strict=True)
    figures = [{"metric": metric.name, "unit": metric.unit, "value": value} for metric, value in metrics]
    return {"engine": engine.name, "version": "1.2.3", "workload": workload, "figures": figures}


@pytest.fixture
def results() -> dict[str, Any]:
    """Three runs, as they are recorded: read back from JSON."""
    lines = []
    for more in (0, 2_000, 1_000):
        lines += [line(OURS, "chain", 20_000 + more), line(DBOS, "chain", 250 + more / 100), line(N8N, "chain", 300)]
        lines += [line(OURS, "latency", 0.5, 1.5), line(DBOS, "latency", 5, 9), line(OURS, "sleepers", 20_000, 0)]
        lines += [line(DBOS, "sleepers", 200, 5_000)]
    lines += [line(OURS_ON_POSTGRES, "chain", 15_000), line(ABSURD, "chain", 750), line(ABSURD, "sleepers", 700, 1_000)]
    recorded = {"machine": {**MACHINE, **SERVER}, "repetitions": 3, "rows": list(rows(lines))}
    read: dict[str, Any] = json.loads(json.dumps(recorded))
    return read


def test_rows_hold_median_spread_and_how_far_ours_is_ahead(results: dict[str, Any]) -> None:
    """Each engine has one row for each metric; more steps a second are better, and so are fewer milliseconds."""
    found = {(row["workload"], row["metric"], row["engine"]): row for row in results["rows"]}
    ours, dbos = found["chain", "throughput", "Perdure"], found["chain", "throughput", "DBOS"]
    assert (ours["median"], ours["min"], ours["max"], ours["runs"], ours["ours_ahead"]) == (21_000, 20_000, 22_000, 3, None)
    assert dbos["ours_ahead"] == pytest.approx(21_000 / 260)
    assert found["latency", "p50", "DBOS"]["ours_ahead"] == pytest.approx(10)
    assert found["sleepers", "memory each", "DBOS"]["ours_ahead"] is None  # ours took nothing that could be seen


def test_what_runs_on_postgresql_is_compared_with_ours_on_postgresql(results: dict[str, Any]) -> None:
    """A file and a server are two things; where ours was not measured on the same, nothing is said."""
    found = {(row["workload"], row["metric"], row["engine"]): row for row in results["rows"]}
    assert found["chain", "throughput", "absurd"]["ours_ahead"] == pytest.approx(20)
    assert found["chain", "throughput", "Perdure on PostgreSQL"]["ours_ahead"] is None
    assert found["sleepers", "starts", "absurd"]["ours_ahead"] is None
    written = tables.markdown(results)
    assert "**All on the same PostgreSQL: 18.4, fsync=on, synchronous_commit=on**\n\n" in written
    assert "| Chain of 10 steps: throughput | **15,000 steps/s** | 750 steps/s (20×) |" in written
    assert {(engine.on_postgres, engine in PEERS) for engine in ENGINES.values()} == {
        (False, False), (False, True), (True, False), (True, True),
    }  # fmt: skip


def test_whoever_is_on_postgresql_gets_a_server_that_has_just_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its runner is told the URL of an empty database, and whoever runs on a file is told of none, whatever is set outside."""
    asked = tmp_path / "python"
    asked.write_text('#!/bin/sh\nprintf \'{"store": "%s"}\n\' "$BENCH_STORE"\n')
    asked.chmod(0o755)
    monkeypatch.setattr(Engine, "python", property(lambda engine: asked))
    monkeypatch.setattr(
        "bench.postgres.server", lambda: nullcontext(SimpleNamespace(url=lambda: "postgresql://a@b:1/postgres"))
    )
    monkeypatch.setattr("bench.postgres.new_database", lambda url: url.replace("/postgres", "/new"))
    monkeypatch.setenv("BENCH_STORE", "postgresql://somebody/else")
    assert run(ABSURD, ["chain"]) == [{"store": "postgresql://a@b:1/new"}]
    assert run(DBOS, ["chain"]) == [{"store": ""}]


def test_a_peer_that_is_ahead_is_shown_ahead() -> None:
    """A ratio below one says that the peer did better; nothing is turned round or left out."""
    assert Metric("throughput", "steps/s", True).ahead(100, 200) == 0.5
    assert Metric("p50", "ms", False).ahead(8, 2) == 0.25
    assert tables.times(0.25) == "0.25×"


@pytest.mark.parametrize("value, shown", [(1983.4, "1,983"), (20.44, "20.4"), (0.0571, "0.0571"), (7.0, "7"), (100.0, "100")])
def test_numbers_have_three_digits_that_matter(value: float, shown: str) -> None:
    """Large numbers are whole, small ones keep what tells them apart."""
    assert tables.number(value) == shown


def test_the_page_gets_its_tables_between_the_markers(results: dict[str, Any]) -> None:
    """What stands around the markers stays, what stood between them goes; a second time changes nothing."""
    page = "# Speed\n\n<!-- peers:begin -->\nold\n<!-- peers:end -->\n\nThe end.\n"
    written = placed(page, "peers", tables.markdown(results))
    assert written.startswith("# Speed\n\n")
    assert written.endswith("\n\nThe end.\n")
    assert "old" not in written
    assert "| Chain of 10 steps: throughput | **21,000 steps/s** | 260 steps/s (80.8×) | 300 steps/s (70×) |" in written
    assert "| 500 × 10, 100 in flight | 21,000 steps/s | 20,000 … 22,000 |" in written
    assert placed(written, "peers", tables.markdown(results)) == written


def test_an_engine_that_does_not_wait_for_the_disk_bears_a_star(results: dict[str, Any]) -> None:
    """In the tables and in the picture, with a line that says what the star means."""
    written, drawn = tables.markdown(results), pictures.svg(results, "light")
    assert "| Workload | Perdure | DBOS | n8n* |" in written
    assert f"\n\n\\{NOT_FLUSHED}\n" in written
    assert ">n8n*<" in drawn
    assert NOT_FLUSHED in drawn


def test_figures_of_a_busy_machine_say_so(results: dict[str, Any]) -> None:
    """Whoever waits for the disk there waits for a core as well, and a reader must know."""
    assert "The machine was busy" not in tables.markdown(results)
    assert "The machine was busy" in tables.markdown({**results, "machine": {**results["machine"], "load": 5.8}})


def test_a_page_without_markers_is_refused() -> None:
    """Tables are put nowhere by guess."""
    with pytest.raises(ValueError, match="Expected the page to have"):
        placed("# Speed\n", "peers", "tables")


@pytest.mark.parametrize("name", ["peers", "ours", "budget"])
def test_the_page_in_the_documentation_has_the_markers(name: str) -> None:
    """What `--publish` writes to has a place for it."""
    page = (ROOT / "docs" / "guide" / "speed.md").read_text()
    assert "a table" in placed(page, name, "a table")


def test_the_terminal_shows_every_row(results: dict[str, Any]) -> None:
    """One line for each row under the title of its workload."""
    shown = tables.text(results)
    assert len(re.findall(r"^  \S", shown, re.MULTILINE)) == len(results["rows"])
    assert shown.startswith("Chain of 10 steps: throughput\n")


@pytest.mark.parametrize("scheme", pictures.SCHEMES)
def test_the_picture_has_a_bar_for_each_engine(results: dict[str, Any], scheme: str) -> None:
    """A panel for each workload that was measured; what is ten times as much is a decade longer."""
    drawn = ElementTree.fromstring(pictures.svg(results, scheme))
    bars = [rect for rect in drawn.iter("{http://www.w3.org/2000/svg}rect") if "rx" in rect.attrib and "x" in rect.attrib]
    firsts = [row for row in results["rows"] if row["metric"] == WORKLOADS[row["workload"]].metrics[0].name]
    assert len(bars) == len(firsts) == 10
    assert all(float(bar.attrib["width"]) > 0 for bar in bars)
    latency = [float(bar.attrib["width"]) for bar in bars[5:7]]
    assert latency[1] - latency[0] == pytest.approx(pictures._x(5, -1, 1) - pictures._x(0.5, -1, 1), abs=0.2)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_a_runner_has_the_workloads_that_are_declared(engine: Engine) -> None:
    """Each declared workload exists, each is given or its absence explained, and the runner has its shape."""
    assert set(engine.loads) | set(engine.lacks) == set(WORKLOADS) == set(MEASURES)
    assert not set(engine.loads) & set(engine.lacks)
    assert all(why and load for why, load in zip(engine.lacks.values(), engine.loads.values(), strict=False))
    runner = FOLDER / engine.folder / "run.py"
    words = {node.value for node in ast.walk(ast.parse(runner.read_text())) if isinstance(node, ast.Constant)}
    if engine in PEERS:  # ours are those of bench/workloads.py, which test_bench.py runs
        assert {SHAPES[workload] for workload in engine.loads if workload in SHAPES} <= words


def test_ours_are_the_workloads_of_our_own_benchmark() -> None:
    """What is compared is what `make bench` measures, at the same size."""
    from bench.__main__ import MEASURES as OWN

    assert set(OURS.loads) <= set(OWN)
    assert OURS_ON_POSTGRES.loads == OURS.loads
    assert OURS.loads["chain"] == Load(500, 10, 100)
    assert OURS.loads["sleepers"].executions == inspect.signature(workloads.sleepers).parameters["executions"].default


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*/requirements.txt")), ids=lambda file: file.parent.name)
def test_requirements_are_exact(file: Path) -> None:
    """Every package of an environment, and what it depends on, has one version."""
    pins = file.read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin) for pin in pins)
    assert len({pin.lower().split("==")[0] for pin in pins}) == len(pins) >= 5


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*/package.json")), ids=lambda file: file.parent.name)
def test_packages_are_exact_and_locked(file: Path) -> None:
    """What a package.json names has one version, and the lock holds that one."""
    wanted = json.loads(file.read_text())
    locked = json.loads(file.with_name("package-lock.json").read_text())["packages"]
    for name, version in {**wanted["dependencies"], **wanted.get("optionalDependencies", {})}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in package for place, package in locked.items() if place and not package.get("link"))


def test_every_peer_has_a_runner_and_a_pinned_environment() -> None:
    """A folder for each, with what `bench/peers/setup` needs."""
    for peer in PEERS:
        assert list((FOLDER / peer.folder).glob("requirements.txt")) + list((FOLDER / peer.folder).glob("package.json"))


def test_a_runner_that_fails_is_reported_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No figure is made up for it: the comparison says who failed and why."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho the server did not come up >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(Engine, "python", property(lambda engine: broken))
    with pytest.raises(RunFailed, match=r"DBOS: its runner ended with 3:\nthe server did not come up"):
        run(DBOS, ["chain"])


def test_a_runner_reports_in_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its standard output is JSON, a line for each workload; it is asked only for those that it has."""
    spoken = tmp_path / "python"
    spoken.write_text('#!/bin/sh\nshift 2\nprintf \'{"said": "%s"}\\n\' "$@"\n')
    spoken.chmod(0o755)
    monkeypatch.setattr(Engine, "python", property(lambda engine: spoken))
    assert run(N8N, ["chain", "fan-out-100"]) == [{"said": "n8n"}, {"said": "chain"}]
    assert run(N8N, ["fan-out-100"]) == []


def test_the_client_reads_plain_and_chunked_answers_and_keeps_its_connection() -> None:
    """It is what peers are called with, so it must read what servers send, and tell a refusal from an answer."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while answers and await reader.readuntil(b"\r\n\r\n"):
            writer.write(answers.pop(0))
        writer.close()

    async def calls() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, client(server.sockets[0].getsockname()[1]) as caller:
            assert await caller.get("/") == b"hello"
            assert await caller.post("/", None) == b"hello"
            with pytest.raises(Refused, match="503: b'busy'"):
                await caller.get("/")
            assert await caller.get("/") == b""
            assert len(connections) == 1

    asyncio.run(asyncio.wait_for(calls(), 30))
