"""`resume` and interruptions: Ctrl-C, SIGTERM and kill -9 leave an execution durable, and it goes on where it was."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from command_line import ASK, PARKS, Perdure

TWO = {
    "first": {"type": "transform", "to": "${ uuid() }"},
    "second": {"type": "test.hangs_once", "after": "first", "with": {"file": "seen"}},
    "third": {"type": "transform", "after": "second", "to": "${ nodes.second }"},
}
"""A workflow that hangs in its second node until it is run a second time."""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_run_goes_on_where_it_was(perdure: Perdure, number: signal.Signals, code: int) -> None:
    """What was done stays done, what was in flight runs again, and the result is as if nothing had happened."""
    process = perdure.start("run", perdure.flow(TWO))
    process.until_logged("it hangs")
    process.popen.send_signal(number)
    stopped = process.end()
    assert stopped.code == code, stopped
    execution = stopped.lines[0]["execution"]
    if code > 0:
        assert f"go on with: perdure resume {execution}" in stopped.stderr
        assert "Traceback" not in stopped.stderr
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["execution"], resumed.last["output"]) == (0, execution, "done"), resumed
    first = [line for line in resumed.lines if line.get("node") == "first"]
    assert first == [line for line in stopped.lines if line.get("node") == "first"]
    lost = next(line for line in resumed.lines if line.get("fact") == "lost")
    assert lost.get("crashed", True) is (code < 0)


def test_ctrl_c_on_a_terminal_ends_the_live_table(perdure: Perdure) -> None:
    """The hint repeats --store as it was given, ready to be pasted."""
    process = perdure.start("run", perdure.flow(ASK), "--store", "here is.db")
    process.until_fact("waiting", "ask")
    process.popen.send_signal(signal.SIGINT)
    stopped = process.end()
    assert stopped.code == 130
    assert f"perdure resume {stopped.lines[0]['execution']} --store 'here is.db'" in stopped.stderr


def test_resume_takes_all_that_nobody_runs(perdure: Perdure) -> None:
    """Without an id every interrupted execution goes on, and each has its last line; the exit code is the worst one's."""
    waits, fails = (
        perdure.flow(ASK, name="waits"),
        perdure.flow({**ASK, "no": {"type": "fail", "after": "ask", "code": "no"}}, name="fails"),
    )
    ids = [perdure("run", flow, "--no-wait", "--json").last["execution"] for flow in (waits, fails, waits)]
    for execution in ids[:2]:
        perdure("signal", execution, "go")
    resumed = perdure("resume", "--no-wait", "--json")
    outcomes = {line["execution"]: line["status"] for line in resumed.lines if "fact" not in line}
    assert outcomes == dict(zip(ids, ["succeeded", "failed", "waiting"], strict=True))
    assert resumed.code == 1


def test_resume_takes_the_ones_that_are_named(perdure: Perdure) -> None:
    """With ids, or their last characters, only those go on."""
    flow = perdure.flow(ASK)
    ids = [perdure("run", flow, "--no-wait", "--json").last["execution"] for _ in range(3)]
    for execution in ids:
        perdure("signal", execution, "go", "--payload", "7")
    resumed = perdure("resume", ids[1], "--json")
    assert (resumed.code, resumed.last) == (
        0,
        {"execution": ids[1], "status": "succeeded", "output": 7, "error": None},
    )
    statuses = {line["execution"]: line["status"] for line in perdure("list", "--json").lines}
    assert statuses == {ids[0]: "waiting", ids[1]: "succeeded", ids[2]: "waiting"}
    assert perdure("resume", ids[0][-8:], "--json").last["execution"] == ids[0]


def test_nothing_to_resume_is_no_mistake(perdure: Perdure) -> None:
    """In a store where all has ended there is nothing to do: said so, exit code 0."""
    perdure.run({"a": {"type": "transform", "to": 1}})
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.stdout) == (0, "")
    assert "nothing to resume" in resumed.stderr


def test_resuming_what_has_ended_gives_its_result(perdure: Perdure) -> None:
    """A script may ask again: the outcome and the exit code are the ones it had."""
    failed = perdure.run({"a": {"type": "test.fails"}})
    resumed = perdure("resume", failed.last["execution"], "--json")
    assert (resumed.code, resumed.last) == (1, failed.last)


def test_what_another_process_runs_is_not_taken(perdure: Perdure) -> None:
    """The execution is refused with who runs it, nothing of it runs here, and `resume` without an id passes it over."""
    process = perdure.start("run", perdure.flow(ASK))
    execution = process.until_fact("waiting", "ask")["execution"]
    refused = perdure("resume", execution, "--json")
    assert (refused.code, refused.stdout) == (2, "")
    assert f"process {process.popen.pid} on " in refused.stderr
    assert "[execution.elsewhere]" in refused.stderr
    assert "nothing to resume" in perdure("resume").stderr
    perdure("signal", execution, "go")
    assert process.end().code == 0


def test_a_second_run_leaves_the_executions_of_the_first_alone(perdure: Perdure) -> None:
    """Two processes on one store: each runs its own, and neither is mentioned to the other as interrupted."""
    process = perdure.start("run", perdure.flow(ASK))
    execution = process.until_fact("waiting", "ask")["execution"]
    other = perdure.run({"a": {"type": "transform", "to": 1}}, name="other")
    assert (other.code, other.stderr) == (0, "")
    assert {line["execution"] for line in other.lines} == {other.last["execution"]}
    perdure("signal", execution, "go")
    assert process.end().code == 0


def test_a_key_follows_an_execution_that_another_process_runs(perdure: Perdure) -> None:
    """`run` with the key of a running execution says who runs it, shows what happens there, and ends with its result."""
    flow = perdure.flow(ASK)
    first = perdure.start("run", flow, "--key", "k")
    execution = first.until_fact("waiting", "ask")["execution"]
    second = perdure.start("run", flow, "--key", "k")
    assert second.until_fact("waiting", "ask")["execution"] == execution
    perdure("signal", execution, "go", "--payload", '"yes"')
    ended, followed = first.end(), second.end()
    assert (ended.code, followed.code) == (0, 0), followed
    assert followed.last == ended.last
    assert followed.lines == ended.lines
    assert f"it is run by process {first.popen.pid} on " in followed.stderr


def test_without_the_nodes_it_needs_an_execution_stays_as_it_is(perdure: Perdure) -> None:
    """Node types that are gone are named, exit code 2; the others go on, and with the nodes back so does this one."""
    flow = perdure.flow({**ASK, "large": {"type": "test.large", "after": "ask", "with": {"size": 3}}})
    execution = perdure("run", flow, "--no-wait", "--json").last["execution"]
    other = perdure.run({"a": {"type": "wait_for_signal", "signal": "go"}}, "--no-wait", name="other").last["execution"]
    for each in (execution, other):
        perdure("signal", each, "go")
    nodes = perdure.folder / "nodes.py"
    nodes.rename(perdure.folder / "away.py")
    resumed = perdure("resume", "--json")
    assert resumed.code == 2
    assert "test.large" in resumed.stderr
    assert (resumed.last["execution"], resumed.last["status"]) == (other, "succeeded")
    again = perdure("resume", execution, "--nodes", "away.py", "--json")
    assert (again.code, again.last["output"]) == (0, "xxx"), again


def test_a_parked_execution_is_waited_for(perdure: Perdure) -> None:
    """Without --no-wait `run` says what an operator can do and waits; the decision may come from another process."""
    process = perdure.start("run", perdure.flow(PARKS))
    execution = process.until_fact("parked", "pay")["execution"]
    assert perdure("complete", execution, "pay", "--output", '"paid"').code == 0
    finished = process.end()
    assert (finished.code, finished.last["output"]) == (0, "paid"), finished
    assert f"perdure retry {execution} pay" in finished.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["resume", "ex_nothing"], "There is no execution 'ex_nothing'"),
        (["resume", "ex_01jd3v0x7r8k2q4m6n8p0s2t4v"], "There is no execution ex_01jd3v0x7r8k2q4m6n8p0s2t4v"),
        (["resume", "abc"], "There is no execution 'abc'"),
        (["resume", "--store", "gone.db"], "There is no store at gone.db"),
        (["resume", "--bogus"], "--bogus"),
    ],
)
def test_what_cannot_be_resumed_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence; no store comes into being."""
    perdure.run({"a": {"type": "transform", "to": 1}})
    finished = perdure(*arguments)
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    assert not (perdure.folder / "gone.db").exists()


def test_a_closed_pipe_ends_a_command_quietly(perdure: Perdure) -> None:
    """Who reads no more, as `head` does, gets no traceback; a run is kept, and the hint says how to go on."""
    process = perdure.start("run", perdure.flow({"say": {"type": "log", "message": "x"}, **ASK}))
    execution = process.until_fact("waiting", "ask")["execution"]
    assert process.popen.stdout is not None
    process.popen.stdout.close()
    assert perdure("signal", execution, "go").code == 0
    assert process.popen.wait(timeout=60) == 141
    assert process.popen.stderr is not None
    said = process.popen.stderr.read()
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_help_is_there_at_once(perdure: Perdure) -> None:
    """`perdure --help` names every command and loads neither engine nor tables nor any library that takes its time."""
    program = (
        "import sys; sys.argv[1:] = ['--help']; from perdure.cli import main\n"
        "try: main()\nfinally: print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    commands = {line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert commands >= {
        "run", "resume", "check", "nodes", "list", "show", "why", "incidents", "signal", "emit", "events", "cancel", "pause",
        "unpause", "skip", "reschedule", "retry", "complete", "fail", "verify", "import",
    }  # fmt: skip
    for slow in ("pydantic", "rich", "apsw", "httpx", "yaml", "perdure.engine", "perdure.app", "asyncio"):
        assert f"'{slow}'" not in done.stderr, slow
