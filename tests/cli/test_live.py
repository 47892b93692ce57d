"""The live table on a terminal: every node that fits, those that matter where they do not, and what nodes log above it."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import pytest
from command_line import Perdure
from rich.console import Console

from perdure.cli.live import LiveView, chosen
from perdure.cli.view import Watched
from perdure.ids import ExecutionId
from perdure.testing.rehearsal import EXECUTION, Rehearsal, effects

SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def watched(play: Rehearsal) -> Watched:
    """What a view knows after what was played."""
    found = Watched(play.plan)
    for fact in play.facts:
        found.take(play.now, fact)
    return found


def hundred() -> Rehearsal:
    """A hundred effects: n0 … n9 at once, and then each after the one ten before it."""
    nodes: dict[str, Any] = {f"n{number}": {"after": f"n{number - 10}"} if number > 9 else {} for number in range(100)}
    play = Rehearsal(effects(**nodes) | {"settings": {"on_failure": "isolate"}})
    play.start()
    return play


def test_all_nodes_are_shown_where_they_fit() -> None:
    """In the order in which they were declared, whatever they are doing."""
    play = hundred()
    assert chosen(watched(play), 100) == [f"n{number}" for number in range(100)]


def test_with_more_nodes_than_room_those_that_matter_are_shown() -> None:
    """What failed, runs or waits comes first, then what ended last, then what is next; in declaration order."""
    play = hundred()
    for number in range(5):
        play.succeed(f"n{number}")
    play.fail("n5")
    running = ["n6", "n7", "n8", "n9", "n10", "n11", "n12", "n13", "n14"]
    assert chosen(watched(play), 10) == ["n5", *running]
    assert chosen(watched(play), 4) == ["n5", "n6", "n7", "n8"]
    assert len(chosen(watched(play), 30)) == 30
    assert set(chosen(watched(play), 30)) >= {"n4", "n5", *running}


def test_the_line_of_progress_counts_all_of_them() -> None:
    """Also those for which there is no room."""
    play = hundred()
    play.succeed("n0")
    play.fail("n1")
    progress = LiveView(Console(file=io.StringIO())).progress(watched(play))
    assert progress.startswith("11/100 nodes")  # n0, n1, and the nine after n1 that will never run
    assert "1 failed, 9 running, 80 pending, 1 succeeded, 9 skipped" in progress


def shown(*plays: Rehearsal, height: int = 20) -> str:
    """What the view shows of these plays, as text."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=height, color_system=None)
    view = LiveView(console)
    for number, play in enumerate(plays):
        execution = ExecutionId(EXECUTION[:-1] + bytes((number,)))
        view.follow(execution, play.plan)
        view.saw(execution, play.now, play.facts)
    with console.capture() as capture:
        console.print(view._render())
    view.close()
    return SEQUENCES.sub("", capture.get())


def test_a_row_tells_state_attempts_and_why() -> None:
    """Glyph, node, state, the number of the attempt, and a note."""
    document = effects(a={"retry": {"attempts": 2, "initial": "1s"}}, b={"after": "a"})
    play = Rehearsal(document)
    play.start()
    play.fail("a", "http.503", title="The server is away.")
    waits, after, *_ = shown(play).splitlines()
    assert waits.split()[:3] == ["◷", "a", "waiting"]
    assert "The server is away." in waits
    assert after.split() == ["·", "b", "pending"]
    play.pass_time(2)
    assert shown(play).splitlines()[0].split()[:4] == ["▸", "a", "running", "×2"]
    play.fail("a", "http.503", title="The server is away.")
    assert shown(play).splitlines()[0].split()[:2] == ["✗", "a"]


def test_the_table_never_grows_beyond_the_terminal() -> None:
    """On a low terminal the rows are fewer, and no row is broken in two."""
    lines = shown(hundred(), height=12).splitlines()
    assert len(lines) <= 12
    assert lines[-1].startswith("0/100 nodes")


def test_several_executions_have_a_line_each() -> None:
    """`resume` of many shows how far each is."""
    lines = shown(hundred(), hundred(), hundred()).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("w  0/100 nodes") for line in lines)


def test_markup_in_texts_is_text() -> None:
    """A title in square brackets is no style and no error."""
    play = Rehearsal(effects(a={}))
    play.start()
    play.fail("a", title="[bold]not[/red] a style")
    assert "[bold]not[/red] a style" in shown(play)


def on_a_terminal(folder: Path, *arguments: str, lines: int = 24) -> tuple[int, str]:
    """Run a command in a process whose terminal has so many lines; its exit code and all that it wrote there."""
    terminal, its_end = pty.openpty()
    ioctl(its_end, TIOCSWINSZ, struct.pack("HHHH", lines, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=its_end,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": str(lines)},
    )
    os.close(its_end)
    written = bytearray()
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # nobody has the other end any more
            break
        if not part:
            break
        written += part
    os.close(terminal)
    return process.wait(timeout=60), written.decode()


@pytest.mark.parametrize(
    "nodes, code, told",
    [
        (
            {"say": {"type": "log", "message": "half-way"}, "a": {"type": "transform", "after": "say", "to": {"n": 1}}},
            0,
            '{"n": 1}',
        ),
        ({"say": {"type": "log", "message": "half-way"}, "a": {"type": "test.fails", "after": "say"}}, 1, "It went wrong."),
    ],
)
def test_on_a_terminal_a_run_leaves_its_table_and_its_result(
    perdure: Perdure, nodes: dict[str, Any], code: int, told: str
) -> None:
    """Log lines, then the table as it was in the end, then the result; the cursor is there again."""
    ended, written = on_a_terminal(perdure.folder, "run", perdure.flow(nodes, title="A title"))
    assert ended == code
    text = SEQUENCES.sub("", written)
    assert text.index("A title") < text.index("half-way") < text.index("2/2 nodes") < text.index(told, text.index("2/2 nodes"))
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h")


def test_plain_lines_on_a_terminal_when_asked(perdure: Perdure) -> None:
    """--plain draws nothing."""
    ended, written = on_a_terminal(perdure.folder, "run", perdure.flow({"a": {"type": "transform", "to": 1}}), "--plain")
    assert ended == 0
    assert "\x1b" not in written
    assert " a succeeded" in written
