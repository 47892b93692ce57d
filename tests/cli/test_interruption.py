"""An interruption is never held up: not by a node that will not be cancelled, and not by its own good order."""

from __future__ import annotations

import signal

import pytest
from command_line import Perdure

DEAF = '''
"""A node that will not be cancelled."""

import asyncio

from perdure import Context, node


@node("test.deaf")
async def deaf(context: Context) -> None:
    """Say that it runs, and go on whatever is asked of it."""
    context.log("it is deaf")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.log("it was asked to stop")
'''


@pytest.fixture
def deaf(perdure: Perdure) -> Perdure:
    """The command beside a node that will not be cancelled."""
    (perdure.folder / "deaf.py").write_text(DEAF)
    return perdure


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_node_that_will_not_stop_does_not_keep_the_process(
    deaf: Perdure, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """It has its grace, more than once; then the process ends with the hint, and the execution is kept."""
    monkeypatch.setenv("PERDURE_GRACE", "10ms")
    process = deaf.start("run", deaf.flow({"a": {"type": "test.deaf"}}), "--nodes", "deaf.py")
    process.until_logged("it is deaf")
    process.popen.send_signal(number)
    stopped = process.end()
    assert stopped.code == code
    assert f"go on with: perdure resume {stopped.lines[0]['execution']}" in stopped.stderr
    assert [line["status"] for line in deaf("list", "--json").lines] == ["running"]


def test_a_second_ctrl_c_leaves_at_once(deaf: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not want to wait for a node's grace need not; nothing is lost by it."""
    monkeypatch.setenv("PERDURE_GRACE", "1h")
    process = deaf.start("run", deaf.flow({"a": {"type": "test.deaf"}}), "--nodes", "deaf.py")
    process.until_logged("it is deaf")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.stderr is not None
    assert process.popen.stderr.readline() == "stopping: what runs has its grace to end; interrupt again to leave at once\n"
    process.popen.send_signal(signal.SIGINT)
    stopped = process.end()
    assert stopped.code == 130
    assert f"go on with: perdure resume {stopped.lines[0]['execution']}" in stopped.stderr
    assert deaf("verify").code == 0


def test_a_run_ends_although_a_node_that_timed_out_goes_on(deaf: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt is let go, the execution fails, and the process ends with its exit code."""
    monkeypatch.setenv("PERDURE_GRACE", "10ms")
    flow = deaf.flow({"a": {"type": "test.deaf", "timeout": "10ms", "retry": {"attempts": 1}}})
    ended = deaf.start("run", flow, "--nodes", "deaf.py").end()
    assert (ended.code, ended.lines[-1]["status"], ended.lines[-1]["error"]["category"]) == (1, "failed", "timeout")
