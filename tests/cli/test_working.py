"""`start`, `worker` and `workers`: what one command starts another one carries out, and workers stop as they are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from command_line import ASK, Perdure, Process

from perdure.cli.health import answering, read_place
from perdure.errors import Refused
from perdure.runtime.pulse import BEAT_SECONDS, Pulse
from perdure.testing.world import World


def ready(perdure: Perdure, *arguments: str) -> Process:
    """A worker that has said that it is ready."""
    process = perdure.start("worker", *arguments)
    process.until(lambda line: line["event"] == "ready")
    return process


def until_it_hangs(perdure: Perdure) -> None:
    """Wait until the effect of `test.hangs_once` is under way, which its file tells."""
    while not (perdure.folder / "once").exists():
        os.sched_yield()


def ended(perdure: Perdure, execution: str) -> dict[str, Any]:
    """How an execution has ended, once a worker has carried it out: the store is asked, nobody waits for the other's word."""
    while True:
        (row,) = [row for row in perdure("list", "--json").lines if row["execution"] == execution]
        if row["status"] in ("succeeded", "failed"):
            return row


def test_what_is_started_is_carried_out_by_a_worker_that_drains_when_told_to(perdure: Perdure) -> None:
    """The id is all that `start` prints; the worker is ready, drains on SIGTERM, and its exit code says that all is well."""
    flow = perdure.flow({"a": {"type": "transform", "to": "${ input.n * 2 }"}})
    started = perdure("start", flow, "--input", '{"n": 4}')
    assert started.code == 0
    assert "no worker is there now; start one with: perdure worker" in started.stderr
    execution = started.stdout.strip()
    assert [(row["execution"], row["status"]) for row in perdure("list", "--json").lines] == [(execution, "queued")]

    worker = ready(perdure, "--name", "blue", "--slots", "7")
    assert ended(perdure, execution)["status"] == "succeeded"
    (known,) = perdure("workers", "--json").lines
    assert (known["alive"], known["state"], known["slots"], known["pid"]) == (True, "ready", 7, worker.popen.pid)
    assert known["worker"].startswith("blue-")
    assert perdure("workers").stdout.startswith("blue-")
    again = perdure("start", flow, "--input", '{"n": 5}', "--json")
    assert again.stderr == ""
    assert again.last["existing"] is False
    ended(perdure, again.last["execution"])

    worker.popen.send_signal(signal.SIGTERM)
    stopped = worker.end()
    assert (stopped.code, [line["event"] for line in stopped.lines]) == (0, ["ready", "draining", "drained"])
    assert perdure("workers", "--json").lines == []


def test_a_key_starts_one_execution_and_a_signal_goes_with_it(perdure: Perdure) -> None:
    """As with `run`: the same key and input find the one that was started before."""
    flow = perdure.flow(ASK, output="${ nodes.ask }")
    given = ("start", flow, "--key", "k", "--signal", "go", "--payload", '"now"', "--signal-id", "s", "--json")
    first, second = perdure(*given), perdure(*given)
    assert (first.last["existing"], second.last["existing"]) == (False, True)
    assert first.last["execution"] == second.last["execution"]
    assert "was started with this key before" in second.stderr
    assert perdure("start", flow, "--key", "k", "--input", '{"other": 1}').code == 2
    assert perdure("resume", "--json").last["output"] == "now"


def test_a_definition_with_faults_is_not_started(perdure: Perdure) -> None:
    """All faults are told, and nothing is written."""
    refused = perdure("start", perdure.flow({"a": {"type": "transform", "to": "${ nobody }"}}))
    assert (refused.code, refused.stdout) == (2, "")
    assert not perdure.store.exists()


def test_a_worker_takes_over_what_a_killed_one_had_and_says_so(perdure: Perdure) -> None:
    """The first one is killed in the midst of it; the second one finds it at once and names whose it was."""
    flow = perdure.flow({"a": {"type": "test.hangs_once", "with": {"file": "once"}}})
    first = ready(perdure)
    execution = perdure("start", flow).stdout.strip()
    until_it_hangs(perdure)
    first.popen.kill()
    first.popen.wait()
    second = ready(perdure)
    took = second.until(lambda line: line["event"] == "took_over")
    assert (took["executions"], took["of"]) == (1, first.lines[0]["worker"])
    assert ended(perdure, execution)["status"] == "succeeded"
    second.popen.send_signal(signal.SIGINT)
    assert second.end().code == 0


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once(
    perdure: Perdure, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """An effect that would have an hour's grace is not waited for; the next worker knows that this one is dead."""
    monkeypatch.setenv("PERDURE_GRACE", "1h")
    flow = perdure.flow({"a": {"type": "test.hangs_once", "with": {"file": "once"}}})
    worker = ready(perdure)
    perdure("start", flow)
    until_it_hangs(perdure)
    worker.popen.send_signal(number)
    assert worker.until(lambda line: line["event"] == "draining")["running"] == 1
    worker.popen.send_signal(number)
    assert worker.end().code == code
    assert [row["status"] for row in perdure("list", "--json").lines] == ["running"]


def test_what_does_not_end_within_its_grace_is_stopped_when_a_worker_drains(
    perdure: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ends all the same, and what it had is free."""
    monkeypatch.setenv("PERDURE_GRACE", "10ms")
    flow = perdure.flow({"a": {"type": "test.hangs_once", "with": {"file": "once"}}})
    worker = ready(perdure)
    execution = perdure("start", flow).stdout.strip()
    until_it_hangs(perdure)
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.end().code == 0
    assert perdure("resume", execution, "--json").last["output"] == "done"


def test_a_worker_that_cannot_begin_is_refused(perdure: Perdure) -> None:
    """Settings, the place of its health, the store: each in a sentence, with exit code 2."""
    for arguments, sentence in (
        (("--health", "nowhere"), "--health: Expected PORT or HOST:PORT, but got 'nowhere'."),
        (("--health", "70000"), "--health: Expected PORT or HOST:PORT"),
        (("--store", "missing/perdure.db"), "missing"),
        (("--slots", "0"), "--slots"),
    ):
        refused = perdure("worker", *arguments)
        assert refused.code == 2
        assert sentence in refused.stderr


def test_a_store_without_workers_says_so(perdure: Perdure) -> None:
    """A single run is a worker too while it lasts."""
    perdure.run({"a": {"type": "log", "message": "hello"}})
    assert perdure("workers").stderr == "no workers\n"
    process = perdure.start("run", perdure.flow(ASK))
    process.until(lambda line: line.get("fact") == "waiting")
    (known,) = perdure("workers", "--json").lines
    assert (known["state"], known["heard"], known["slots"]) == ("single run", None, None)
    assert "single run" in perdure("workers").stdout


# -- health ---------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def asked(pulse: Pulse) -> AsyncIterator[Any]:
    """Asks for a path, and gives status and body."""
    async with answering(("127.0.0.1", 0), pulse) as port:

        async def ask(request: str) -> tuple[int, Any]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{request}\r\nHost: here\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            return int(head.split()[1]), json.loads(body) if body else None

        yield ask


def test_a_worker_is_ready_until_it_drains_and_alive_until_it_ends() -> None:
    """`/ready` turns to 503 with the drain or without a lease, `/live` does not; anything else is not there."""
    world = World()

    async def main() -> None:
        async with world.process() as process:
            pulse = Pulse(process.store, process.home, world.clock, version="1.2.3")
            async with asked(pulse) as ask:
                assert await ask("GET /live HTTP/1.1") == (200, about("ready"))
                assert await ask("GET /ready?x=1 HTTP/1.1") == (200, about("ready"))
                assert await ask("HEAD /ready HTTP/1.1") == (200, None)
                assert await ask("POST /ready HTTP/1.1") == (405, {})
                assert await ask("GET / HTTP/1.1") == (404, {})
                assert await ask("nonsense") == (404, {})
                await process.home.drain()
                assert await ask("GET /ready HTTP/1.1") == (503, about("draining"))
                assert await ask("GET /live HTTP/1.1") == (200, about("draining"))

    def about(state: str) -> dict[str, Any]:
        counts = {"slots": 1_000, "running": 0, "queued": 0, "executions": 0, "lag": 0}
        return {"version": "1.2.3", "state": state, **counts}

    asyncio.run(main())


def test_where_the_health_is_asked_for() -> None:
    """A port alone is for this machine."""
    assert read_place("8080") == ("127.0.0.1", 8080)
    assert read_place("0.0.0.0:80") == ("0.0.0.0", 80)
    assert read_place("[::1]:80") == ("::1", 80)


def test_a_port_that_is_taken_is_refused() -> None:
    """In a sentence, before anything is taken over."""
    world = World()

    async def main() -> None:
        async with world.process() as process:
            pulse = Pulse(process.store, process.home, world.clock, version="")
            async with answering(("127.0.0.1", 0), pulse) as port:
                with pytest.raises(Refused, match="to be free"):
                    async with answering(("127.0.0.1", port), pulse):
                        pass

    asyncio.run(main())


def test_a_pulse_tells_how_late_the_loop_was_since_it_last_said() -> None:
    """A loop that stood still for half a second; the next report says so, the one after it does not."""
    world = World()

    async def main() -> list[int]:
        async with world.process() as process:
            pulse = Pulse(process.store, process.home, world.clock, version="1.2.3")
            lags = []
            for late in (0.0, 0.5, 0.0):
                beat = asyncio.ensure_future(pulse.beat())
                await asyncio.sleep(0)
                world.clock.jump(late)
                await beat
                await pulse.report()
                (worker,) = await process.store.workers()
                assert worker.load is not None
                lags.append(worker.load.lag)
            return lags

    assert world.run(main) == [0, round((0.5 - BEAT_SECONDS) * 1_000_000), 0]
