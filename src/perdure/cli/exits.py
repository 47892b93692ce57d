"""Exit codes, and how an error becomes a sentence on stderr and one of them."""

from __future__ import annotations

import os
import sys
import traceback

from perdure.errors import DefinitionRefused, PerdureError

SUCCEEDED = 0
FAILED = 1
REFUSED = 2
CANCELLED = 3
WAITING = 4
BROKEN = 70
INTERRUPTED = 130
PIPE_CLOSED = 141
TERMINATED = 143

DEBUG = "PERDURE_DEBUG"
"""A variable for those who report an error of ours: with any value, tracebacks are shown."""

BY_STATUS = {"succeeded": SUCCEEDED, "failed": FAILED, "cancelled": CANCELLED, "timed_out": CANCELLED}
"""How an execution that has ended shows to a script."""


def say(message: str) -> None:
    """A message for people: to stderr, so that stdout holds results alone."""
    print(message, file=sys.stderr, flush=True)


def refuse(error: PerdureError) -> int:
    """Say what was refused, what to do and its code; the exit code."""
    if isinstance(error, DefinitionRefused) and len(error.faults) > 1:
        for fault in error.faults:
            say(f"{fault.severity}: {fault.path}: {fault.message} [{fault.code}]")
            say(f"  {fault.remedy}")
        return REFUSED
    say(f"error: {error.message} [{error.code}]")
    if error.remedy:
        say(f"  {error.remedy}")
    return REFUSED


def broken(error: BaseException) -> int:
    """An error of our own. With PERDURE_DEBUG=1 all of it, else a sentence."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    else:
        say(f"error: something in Perdure itself broke: {type(error).__name__}: {error}")
        say("  Run it again with PERDURE_DEBUG=1 and report what that shows; what was committed is safe.")
    return BROKEN


def pipe_closed() -> int:
    """Whoever read our output has gone: say nothing more, not even when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED
