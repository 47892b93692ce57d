"""The pool of processes: what it returns, how failures come back, and that nothing is ever left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from perdure.errors import Failure
from perdure.nodes import Context, Deferred, Failed, Work
from perdure.runtime.processes import Limits, ProcessDied, ProcessPool

TimesOut = Callable[[Any], Awaitable[Any]]
Body = Callable[[ProcessPool], Awaitable[Any]]


def in_pool(body: Body, size: int = 1, **options: Any) -> Any:
    """Run the body with a pool in a loop of its own."""

    async def main() -> Any:
        async with ProcessPool(size, **options) as pool:
            return await body(pool)

    return asyncio.run(main())


def call(work: Work, context: Context, **params: Any) -> Any:
    """Run a node in a pool of its own."""
    return in_pool(lambda pool: pool.run(work.reference, params, context.fields()))


def failure_of(work: Work, context: Context, **params: Any) -> Failure:
    """The failure with which a node in a pool of its own comes back."""
    with pytest.raises(Failed) as raised:
        call(work, context, **params)
    return raised.value.failure


# -- results ----------------------------------------------------------------------------------------------------------
def test_a_call_returns_the_output(samples: dict[str, Work], context: Context) -> None:
    """Parameters are converted, defaults are the function's own, the output comes back as plain values."""
    assert call(samples["add"], context, a="2") == 3


def test_an_async_node_runs_in_a_process_too(samples: dict[str, Work], context: Context) -> None:
    """A node that once blocked the loop is sent to the pool, where async functions run as well."""
    assert call(samples["async_add"], context, a=1, b=2) == 3


def test_a_node_knows_its_attempt_and_nothing_of_the_installation(
    samples: dict[str, Work], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context crosses whole, `PERDURE_*` variables do not; the environment shows what a process belongs to."""
    monkeypatch.setenv("PERDURE_SECRET", "hush")
    assert call(samples["where"], context) | {"pid": 0} == {
        "pid": 0,
        "fields": {
            "execution": "ex_1",
            "path": "orders[3].pay",
            "attempt": 2,
            "key": "p1_key",
            "tenant": "default",
            "workflow": "order",
        },
        "ours": [],
        "attempt": "ex_1:orders[3].pay:2",
    }


def test_a_deferred_answer_crosses(samples: dict[str, Work], context: Context) -> None:
    """`return context.defer()` comes back as the token that the attempt was given."""
    assert call(samples["later"], context) == Deferred("token-1")


def test_logs_prints_and_heartbeats_arrive_in_order(samples: dict[str, Work], context: Context) -> None:
    """What a node logs and prints arrives line by line; data that JSON does not know arrives as text."""
    heard: list[Any] = []

    async def body(pool: ProcessPool) -> None:
        await pool.run(
            samples["talk"].reference, {}, context.fields(), on_log=lambda *line: heard.append(line), on_heartbeat=heard.append
        )

    in_pool(body)
    assert heard == [
        ("logged", "warning", {"size": 3, "what": [1], "huge": str(2**70)}),
        ("half a line", "info", {"source": "stdout"}),
        {"done": 1},
        ("rest0", "info", {"source": "stdout"}),
    ]


def test_a_node_that_prints_without_end_is_cut_short(samples: dict[str, Work], context: Context) -> None:
    """After 1,000 lines one says that the rest is left out."""
    lines: list[str] = []

    async def body(pool: ProcessPool) -> None:
        await pool.run(
            samples["talk"].reference, {"lines": 5_000}, context.fields(), on_log=lambda text, *rest: lines.append(text)
        )

    in_pool(body)
    assert len(lines) == 1_001
    assert "left out" in lines[-1]


def test_a_pure_function_is_evaluated(samples: dict[str, Work]) -> None:
    """Heavy pure work takes a payload and gives a value, without a context."""
    assert in_pool(lambda pool: pool.evaluate("builtins:sorted", [3, 1, 2])) == [1, 2, 3]


def test_processes_are_used_again_and_at_most_size_run(samples: dict[str, Work], context: Context) -> None:
    """Twenty calls in a pool of two are carried out by two processes."""

    async def body(pool: ProcessPool) -> set[int]:
        calls = [pool.run(samples["where"].reference, {}, context.fields()) for _ in range(20)]
        return {answer["pid"] for answer in await asyncio.gather(*calls)}

    assert len(in_pool(body, size=2)) == 2


def test_a_process_is_replaced_after_its_calls(samples: dict[str, Work], context: Context) -> None:
    """What users' code leaks stays bounded: after `calls_max` calls a new process takes over."""

    async def body(pool: ProcessPool) -> list[int]:
        return [(await pool.run(samples["where"].reference, {}, context.fields()))["pid"] for _ in range(4)]

    first, second, third, fourth = in_pool(body, calls_max=2)
    assert first == second != third == fourth


def test_a_large_value_crosses_both_ways(samples: dict[str, Work], context: Context) -> None:
    """A megabyte comes back whole."""
    assert call(samples["much"], context, bytes=1 << 20) == "x" * (1 << 20)


# -- failures ---------------------------------------------------------------------------------------------------------
def test_a_chosen_failure_comes_back_as_it_is(samples: dict[str, Work], context: Context) -> None:
    """`Failed` crosses with code, category, status, data and waiting time (in microseconds)."""
    assert failure_of(samples["refuse"], context) == Failure(
        code="card.declined",
        title="The card was declined",
        category="business",
        retry_after=1_500_000,
        status=402,
        data={"left": 3},
    )


def test_a_failure_whose_data_cannot_be_sent_keeps_its_code(samples: dict[str, Work], context: Context) -> None:
    """The code is what workflows decide by: it survives data that no message can hold."""
    assert failure_of(samples["fail_strangely"], context).code == "card.declined"


def test_an_exception_becomes_a_failure_with_a_short_traceback(samples: dict[str, Work], context: Context) -> None:
    """Type, message, place and cause, without our own frames and without the machine's paths."""
    failure = failure_of(samples["stumble"], context)
    assert (failure.code, failure.category, failure.title) == ("node.exception", "technical", "LookupError: no price")
    lines = failure.detail.splitlines()
    places = [line.partition(", line ")[0] for line in lines[:2]]
    assert all(place.endswith("sample_nodes.py") and not Path(place).is_absolute() for place in places)
    assert lines[-2:] == ["LookupError: no price", "caused by KeyError: 'price'"]


def test_wrong_parameters_are_all_named(samples: dict[str, Work], context: Context) -> None:
    """Parameters are checked before the call; all faults come at once."""
    failure = failure_of(samples["add"], context, b="x", c=1)
    assert (failure.code, failure.category, failure.retryable) == ("params.invalid", "validation", False)
    assert sorted(fault["path"] for fault in failure.data["faults"]) == ["a", "b", "c"]


@pytest.mark.parametrize("what", ["big", "nan", "surrogate", "strange"])
def test_an_output_that_no_journal_can_hold_is_refused(samples: dict[str, Work], context: Context, what: str) -> None:
    """Overflow, NaN, lone surrogates and strange objects are errors at the border (day-one 10)."""
    assert failure_of(samples["give"], context, what=what).code == "output.invalid"


def test_an_unknown_reference_fails(context: Context) -> None:
    """A reference that leads nowhere is a failure that names it."""

    async def body(pool: ProcessPool) -> None:
        await pool.run("no_such_package.nodes:charge", {}, context.fields())

    with pytest.raises(Failed, match="no_such_package.nodes") as raised:
        in_pool(body)
    assert raised.value.failure.code == "nodes.reference"


def test_code_that_changed_since_it_was_checked_does_not_run(context: Context, tmp_path: Path) -> None:
    """A process loads the source that was recorded, or none (day-one 10)."""
    from perdure.nodes.discovery import from_file

    file = tmp_path / "nodes.py"
    file.write_text("from perdure import node\n@node('a.b')\ndef b() -> int:\n    return 1\n")
    (work,) = from_file(file)
    file.write_text(file.read_text().replace("return 1", "return 2"))
    assert failure_of(work, context).code == "nodes.changed"


def test_sys_exit_is_an_exception_like_others(samples: dict[str, Work], context: Context) -> None:
    """`sys.exit` in a node fails the node, not the process."""
    assert failure_of(samples["leave"], context).title == "SystemExit: 3"


@pytest.mark.parametrize("name, exit", [("crash", -signal.SIGSEGV), ("exit", 0), ("exit", 7)])
def test_a_process_that_dies_is_a_failure_and_is_replaced(
    samples: dict[str, Work], context: Context, name: str, exit: int
) -> None:
    """A crash or an `os._exit`, even with status 0, fails the node alone; the next call finds a process."""

    async def body(pool: ProcessPool) -> int:
        params = {"code": exit} if name == "exit" else {}
        with pytest.raises(ProcessDied) as raised:
            await pool.run(samples[name].reference, params, context.fields())
        assert raised.value.exit == exit
        failure = raised.value.failure
        assert (failure.code, failure.category, failure.ambiguous) == ("node.process_died", "technical", True)
        return int(await pool.run(samples["add"].reference, {"a": 1}, context.fields()))

    assert in_pool(body) == 2


def test_what_a_dying_process_leaves_behind_is_killed(samples: dict[str, Work], context: Context) -> None:
    """A daemon in its own session, without our environment, does not outlive the process that started it."""
    daemons: list[int] = []

    async def body(pool: ProcessPool) -> None:
        with pytest.raises(ProcessDied):
            await pool.run(samples["orphans"].reference, {"code": 1}, context.fields(), on_heartbeat=daemons.append)
        assert not psutil.pid_exists(daemons[0])

    in_pool(body)


def test_a_node_that_hangs_up_is_killed(samples: dict[str, Work], context: Context) -> None:
    """A process that closes its line to the pool and goes on is killed, for nobody could hear it again."""
    pids: list[int] = []

    async def body(pool: ProcessPool) -> None:
        with pytest.raises(ProcessDied):
            await pool.run(samples["hang_up"].reference, {}, context.fields(), on_heartbeat=pids.append)
        assert not psutil.pid_exists(pids[0])

    in_pool(body)


def test_parameters_that_cannot_be_sent_are_refused(samples: dict[str, Work], context: Context) -> None:
    """What no message can hold never reaches a process."""
    assert failure_of(samples["add"], context, a=object()).code == "params.invalid"


# -- limits -----------------------------------------------------------------------------------------------------------
def test_memory_is_limited_and_the_process_retired(samples: dict[str, Work], context: Context) -> None:
    """A call beyond its memory fails with a code of its own; the limited process never serves another call."""

    async def body(pool: ProcessPool) -> tuple[int, int]:
        with pytest.raises(Failed) as raised:
            await pool.run(samples["hoard"].reference, {"bytes": 1 << 30}, context.fields(), limits=Limits(memory=256 << 20))
        assert raised.value.failure.code == "node.memory_limit"
        limited = await pool.run(samples["where"].reference, {}, context.fields(), limits=Limits(memory=256 << 20))
        free = await pool.run(samples["where"].reference, {}, context.fields())
        return limited["pid"], free["pid"]

    limited, free = in_pool(body)
    assert limited != free


def test_memory_within_the_limit_is_granted(samples: dict[str, Work], context: Context) -> None:
    """The limit counts what the node takes, not what the interpreter holds."""

    async def body(pool: ProcessPool) -> Any:
        return await pool.run(samples["hoard"].reference, {"bytes": 1 << 20}, context.fields(), limits=Limits(memory=256 << 20))

    assert in_pool(body) == 1 << 20


def test_computing_time_is_limited(samples: dict[str, Work], context: Context) -> None:
    """A loop in C beyond its CPU seconds is ended by the kernel, with a code of its own."""

    async def body(pool: ProcessPool) -> None:
        with pytest.raises(ProcessDied) as raised:
            await pool.run(samples["count_in_c"].reference, {}, context.fields(), limits=Limits(cpu=1))
        assert raised.value.failure.code == "node.cpu_limit"

    in_pool(body)


# -- stopping ---------------------------------------------------------------------------------------------------------
def test_a_stopped_node_may_clean_up_within_the_grace(
    samples: dict[str, Work], context: Context, times_out: TimesOut, tmp_path: Path
) -> None:
    """Cooperative first: `finally` runs in the process before it is gone."""
    file = tmp_path / "tidy"

    async def body(pool: ProcessPool) -> None:
        pid = await times_out(
            lambda beat: pool.run(
                samples["tidy"].reference, {"file": str(file)}, context.fields(), on_heartbeat=beat, grace=60_000_000
            )
        )
        assert not psutil.pid_exists(pid)

    in_pool(body)
    assert file.read_text() == "tidied"


def test_a_node_that_refuses_to_stop_is_killed_after_the_grace(
    samples: dict[str, Work], context: Context, times_out: TimesOut
) -> None:
    """Whoever catches everything is killed all the same, and the next call is served."""

    async def body(pool: ProcessPool) -> Any:
        pid = await times_out(
            lambda beat: pool.run(samples["stubborn"].reference, {}, context.fields(), on_heartbeat=beat, grace=20_000)
        )
        assert not psutil.pid_exists(pid)
        return await pool.run(samples["add"].reference, {"a": 1}, context.fields())

    assert in_pool(body) == 2


def test_a_second_cancel_changes_nothing(samples: dict[str, Work], context: Context) -> None:
    """A cancel during the grace does not let the call go before its process is gone."""

    async def body(pool: ProcessPool) -> None:
        beaten: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.ensure_future(
            pool.run(
                samples["stubborn"].reference,
                {},
                context.fields(),
                on_heartbeat=lambda pid: None if beaten.done() else beaten.set_result(pid),
                grace=50_000,
            )
        )
        pid = await beaten
        for _ in range(3):
            running.cancel()
            await asyncio.wait([running], timeout=0)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not psutil.pid_exists(pid)

    in_pool(body)


def test_a_call_that_waits_for_a_process_can_be_cancelled(samples: dict[str, Work], context: Context) -> None:
    """Cancelling a queued call gives its place to the next, and touches nothing that runs."""

    async def body(pool: ProcessPool) -> Any:
        beaten = asyncio.Event()
        running = asyncio.ensure_future(
            pool.run(samples["stubborn"].reference, {}, context.fields(), on_heartbeat=lambda pid: beaten.set(), grace=0)
        )
        await beaten.wait()
        queued = asyncio.ensure_future(pool.run(samples["add"].reference, {"a": 1}, context.fields()))
        last = asyncio.ensure_future(pool.run(samples["add"].reference, {"a": 2}, context.fields()))
        await asyncio.wait([queued], timeout=0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        running.cancel()
        return await last

    assert in_pool(body) == 3


def test_closing_ends_calls_and_processes(samples: dict[str, Work], context: Context) -> None:
    """After `close` nothing runs: calls in flight have failed, processes and their children are gone."""
    pids: list[Any] = []

    async def main() -> None:
        pool = ProcessPool(2)
        beaten = asyncio.Event()

        def beat(details: Any) -> None:
            pids.extend(details)
            beaten.set()

        running = asyncio.ensure_future(pool.run(samples["family"].reference, {}, context.fields(), on_heartbeat=beat))
        await beaten.wait()
        await pool.close()
        with pytest.raises(ProcessDied):
            await running
        with pytest.raises(Failed, match="closed"):
            await pool.run(samples["add"].reference, {"a": 1}, context.fields())

    asyncio.run(main())
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


def test_a_killed_guard_takes_the_calls_and_their_children_along(samples: dict[str, Work], context: Context) -> None:
    """Should the guard itself be killed, calls in flight fail, what they started is found and killed, and the pool goes on."""
    pids: list[int] = []

    async def body(pool: ProcessPool) -> Any:
        def beat(details: list[int]) -> None:
            pids.extend(details)
            os.kill(psutil.Process(details[0]).ppid(), signal.SIGKILL)

        with pytest.raises(ProcessDied):
            await pool.run(samples["family"].reference, {}, context.fields(), on_heartbeat=beat)
        return await pool.run(samples["add"].reference, {"a": 1}, context.fields())

    assert in_pool(body) == 2
    worker, plain, session, daemon, forked = (psutil.Process(pid) if psutil.pid_exists(pid) else None for pid in pids)
    left = [one for one in (worker, plain, session, forked) if one is not None and one.status() != psutil.STATUS_ZOMBIE]
    assert left == []
    if daemon is not None:  # it threw our mark away, and nobody is left who saw it start: the one that a dead guard misses
        daemon.kill()


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """`kill -9` of the main process ends the guard, the workers, and all their children, daemons included."""
    script = tmp_path / "main.py"
    script.write_text(
        f"""
import asyncio, sys
sys.path[:] = {sys.path!r}
from perdure.nodes import Context
from perdure.nodes.discovery import from_file
from perdure.runtime.processes import ProcessPool

async def main():
    pool = ProcessPool(1)
    works = {{work.spec.name: work for work in from_file({str(Path(__file__).parent / "sample_nodes.py")!r})}}
    show = lambda pids: print(*pids, flush=True)
    await pool.run(works["sample.family"].reference, {{}}, Context().fields(), on_heartbeat=show)

asyncio.run(main())
"""
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in main.stdout.readline().split()]
        processes.append(processes[0].parent())  # the guard
        main.kill()
    assert len(processes) == 6
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
