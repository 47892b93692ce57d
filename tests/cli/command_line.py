"""The command as the tests call it: in this process or in one of its own; and small workflows for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.commands import run_command_line

SECONDS_MAX = 120  # for one command; far more than any needs, so that a hanging one ends

NODES = '''
"""Nodes for the tests of the command line."""

import asyncio

from perdure import Context, Failed, node


@node("test.fails")
async def fails(code: str = "test.failed", title: str = "It went wrong.", retryable: bool = True) -> None:
    """Fail as asked."""
    raise Failed(code, title, retryable=retryable)


@node("test.fails_first")
async def fails_first(context: Context, times: int = 1) -> int:
    """Fail so many times, then succeed with the number of the attempt."""
    if context.attempt <= times:
        raise Failed("test.early", f"Attempt {context.attempt} is too early.")
    return context.attempt


@node("test.hangs")
async def hangs(context: Context) -> None:
    """Say that it runs, and never end."""
    context.log("it hangs")
    await asyncio.Event().wait()


@node("test.hangs_once")
async def hangs_once(context: Context, file: str) -> str:
    """Hang the first time, and be done the second; the file remembers."""
    from pathlib import Path

    if Path(file).exists():
        return "done"
    Path(file).touch()
    context.log("it hangs")
    await asyncio.Event().wait()
    return "never"


@node("test.large")
async def large(size: int) -> str:
    """Give so many characters."""
    return "x" * size


@node("test.says")
async def says(context: Context, message: str, level: str = "info") -> None:
    """Log a line."""
    context.log(message, level=level, extra=1)
'''


class Finished:
    """What a command left behind."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The output, where it is one JSON object a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        assert self.stdout, f"Expected a line of JSON, but the command said: {self.stderr}"
        return self.lines[-1]

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.stdout}\n{self.stderr}"


class Process:
    """The command in a process of its own, with `--json`, read line by line."""

    def __init__(self, arguments: tuple[str, ...], folder: Path) -> None:
        self._folder = folder
        self.node_files = [given for option, given in pairwise(arguments) if option == "--nodes"]
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PERDURE_DEBUG": "1"},
        )
        self.lines: list[dict[str, Any]] = []

    def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read on until a line is as wanted."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(json.loads(line))
            if found(self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"Expected another line, but it ended after {self.lines}: {self.popen.communicate()}")

    def until_fact(self, fact: str, node: str) -> dict[str, Any]:
        """Read on until this happened to this node."""
        return self.until(lambda line: line.get("fact") == fact and line.get("node") == node)

    def until_logged(self, message: str) -> dict[str, Any]:
        """Read on until a node logged this."""
        return self.until(lambda line: line.get("log") == message)

    def end(self) -> Finished:
        """Wait for its end; the lines read before are among those of the result."""
        stdout, stderr = self.popen.communicate(timeout=SECONDS_MAX)
        before = "".join(f"{json.dumps(line)}\n" for line in self.lines)
        return Finished(self.popen.returncode, before + stdout, stderr)


class Perdure:
    """The command `perdure` in a folder of its own, with a store of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = folder / "perdure.db"
        self._capture = capture
        self.processes: list[Process] = []

    @property
    def node_files(self) -> tuple[str, ...]:
        """The files of nodes that the processes were told of."""
        return tuple(file for process in self.processes for file in process.node_files)

    def __call__(self, *arguments: str | Path) -> Finished:
        """Run a command to its end, in this process."""
        self._capture.readouterr()
        code = run_command_line([str(argument) for argument in arguments])
        stdout, stderr = self._capture.readouterr()
        return Finished(code, stdout, stderr)

    def start(self, *arguments: str | Path) -> Process:
        """Start a command with `--json` in a process of its own."""
        process = Process((*map(str, arguments), "--json"), self.folder)
        self.processes.append(process)
        return process

    def flow(self, nodes: dict[str, Any], *, name: str = "flow", **rest: Any) -> str:
        """Write a workflow; its file's name."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"perdure": 1, "name": name, **rest, "nodes": nodes}))
        return file.name

    def run(self, nodes: dict[str, Any], *arguments: str, **rest: Any) -> Finished:
        """Run these nodes to their end, with `--json`."""
        return self("run", self.flow(nodes, **rest), *arguments, "--json")


ASK = {"ask": {"type": "wait_for_signal", "signal": "go"}}
"""A workflow that waits for the signal `go`."""

PARKS = {"pay": {"type": "test.fails", "park": True}, "after": {"type": "transform", "after": "pay", "to": "${ nodes.pay }"}}
"""A workflow whose first node fails and is kept for an operator."""
