"""Nodes that behave badly, each in one way, and a few that behave well: what the tests of the pool run."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from perdure.nodes import Context, Deferred, Failed, node

DAEMON = """
import subprocess, sys
sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True, env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL)
print(sleeper.pid, flush=True)
"""


@node("sample.add")
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@node("sample.where")
def where(context: Context) -> dict[str, object]:
    """Tell what the process knows of its attempt."""
    return {
        "pid": os.getpid(),
        "fields": {name: getattr(context, name) for name in ("execution", "path", "attempt", "key", "tenant", "workflow")},
        "ours": sorted(name for name in os.environ if name.startswith("PERDURE_")),
        "attempt": os.environ["_PERDURE_ATTEMPT"],
    }


@node("sample.talk")
def talk(context: Context, lines: int = 1) -> None:
    """Log, print and beat."""
    context.log("logged", "warning", size=3, what={1, 2} - {2}, huge=2**70)
    sys.stdout.write("half ")
    sys.stdout.write("a line\nrest")
    context.heartbeat({"done": 1})
    for number in range(lines):
        print(number)


@node("sample.later")
def later(context: Context) -> Deferred:
    """Answer later."""
    return context.defer()


@node("sample.refuse")
def refuse() -> None:
    """Fail with a chosen failure."""
    raise Failed("card.declined", "The card was declined", category="business", retry_after=1.5, status=402, data={"left": 3})


@node("sample.fail_strangely")
def fail_strangely() -> None:
    """Fail with data that cannot be sent."""
    raise Failed("card.declined", "No", data=object())


@node("sample.stumble")
def stumble() -> None:
    """Raise what nobody foresaw."""
    _below()


def _below() -> None:
    try:
        {}["price"]
    except KeyError as error:
        raise LookupError("no price") from error


@node("sample.leave")
def leave(code: int = 3) -> None:
    """End the process by the exception that ends processes."""
    sys.exit(code)


@node("sample.exit")
def exit_at_once(code: int) -> None:
    """End the process without a word."""
    os._exit(code)


@node("sample.crash")
def crash() -> None:
    """Read where no memory is."""
    ctypes.string_at(0)


@node("sample.hang_up")
def hang_up(context: Context) -> None:
    """Close the line to the pool, and go on."""
    context.heartbeat(os.getpid())
    os.close(3)
    signal.pause()


@node("sample.give")
def give(what: str) -> object:
    """Return something that no journal can hold."""
    return {"big": 2**64, "nan": float("nan"), "surrogate": "\ud800", "strange": object()}[what]


@node("sample.much")
def much(bytes: int) -> str:
    """Return a long text."""
    return "x" * bytes


@node("sample.hoard")
def hoard(bytes: int) -> int:
    """Take memory."""
    return len(bytearray(bytes))


@node("sample.count_in_c")
def count_in_c(context: Context) -> int:
    """Loop in C code, where no exception and no thread gets a turn."""
    context.heartbeat(os.getpid())
    return sum(range(10**12))


@node("sample.family")
def family(context: Context) -> None:
    """Start children in all the ways in which children flee, and wait for ever."""
    plain = subprocess.Popen(["sleep", "1000"])
    session = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    daemon = int(subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, check=True).stdout)
    forked = os.fork()
    if not forked:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    context.heartbeat([os.getpid(), plain.pid, session.pid, daemon, forked])
    while True:
        signal.pause()


@node("sample.orphans")
def orphans(context: Context, code: int) -> None:
    """Start a daemon, and end the process by itself."""
    daemon = int(subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, check=True).stdout)
    context.heartbeat(daemon)
    os._exit(code)


@node("sample.tidy")
def tidy(context: Context, file: str) -> None:
    """Clean up when stopped."""
    try:
        context.heartbeat(os.getpid())
        threading.Event().wait()
    finally:
        Path(file).write_text("tidied")


@node("sample.stubborn")
def stubborn(context: Context) -> None:
    """Refuse to be stopped."""
    while True:
        try:
            context.heartbeat(os.getpid())
            threading.Event().wait()
        except BaseException:  # noqa: BLE001 - this is what it is for
            continue


@node("sample.nap")
async def nap(context: Context, file: str) -> str:
    """Sleep as one must not in async code, until the file is there."""
    context.heartbeat(os.getpid())
    while not Path(file).exists():  # noqa: ASYNC240 - the fault that the watchdog is there to find
        time.sleep(0.005)  # noqa: ASYNC251 - the same
    return "woken"


@node("sample.async_add")
async def async_add(a: int, b: int) -> int:
    """Add on the loop."""
    return a + b
