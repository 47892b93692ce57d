"""What is stepped while a commit is waited for: others at once, the same execution after it, halves where all go in step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from perdure.ids import ExecutionId
from perdure.runtime.hot import Hot
from perdure.runtime.turns import HALVED_MIN, Turns
from perdure.store.contract import Batch, Committed

MILLISECOND = 0.001


class Watch:
    """A clock that stands still but for what is said to pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds


class Waiting:
    """An execution that may have something to take in; `id` is all that turns know of it."""

    def __init__(self, name: str) -> None:
        self.id = ExecutionId(name.encode())


class Stepped:
    """A turn as the fake home begins it: steps take time and write themselves down."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.batch = Batch()
        self.stepped: list[str] = []

    def __contains__(self, execution: ExecutionId) -> bool:
        return execution.decode() in self.stepped

    def is_empty(self) -> bool:
        return not self.stepped

    def is_full(self) -> bool:
        return False

    def step(self, waiting: Waiting) -> None:
        name = waiting.id.decode()
        if name in self._home.broken:
            raise ValueError(name)
        self._home.watch.seconds += self._home.step_seconds
        self._home.log.append(f"step {name}")
        self.stepped.append(name)


class Home:
    """A home whose executions only count, over a store whose commits end when the test says so."""

    commits_apart = True

    def __init__(self, *names: str, step_seconds: float = 0.0) -> None:
        self.watch = Watch()
        self.step_seconds = step_seconds
        self.log: list[str] = []
        self.broken: set[str] = set()
        self.here = {each.id: each for each in map(Waiting, names)}
        self.ends: asyncio.Queue[Callable[[], Committed]] = asyncio.Queue()
        self.written: list[list[str]] = []
        self.failed = False
        self.turns = Turns(
            cast(Any, self), cast(Any, self), self.watch, cast("dict[ExecutionId, Hot]", self.here)
        )  # fmt: skip

    def touch(self, *names: str) -> None:
        for name in names:
            self.turns.touch(cast(Any, self.here[ExecutionId(name.encode())]))

    def end(self, how: Callable[[], Committed] = Committed, *, after: float = 0.0) -> None:
        """The commit that is under way ends, so many seconds after it was begun."""

        def ended() -> Committed:
            self.watch.seconds += after
            return how()

        self.ends.put_nowait(ended)

    # -- what turns ask of it ---------------------------------------------------------------------------------------------

    def begin_turn(self) -> Stepped:
        return Stepped(self)

    def set_aside(self, hot: Waiting, error: BaseException) -> None:
        del self.here[hot.id]
        self.log.append(f"aside {error}")

    async def write(self, turn: Stepped) -> bool:
        try:
            await self.turns.commit(cast(Any, turn))
        except OSError:
            self.failed = True
            return False
        self.written.append(turn.stepped)
        self.log.append(f"written {' '.join(turn.stepped)}")
        return True

    async def commit(self, batch: Batch) -> Committed:
        self.log.append("commit")
        return (await self.ends.get())()


def lived(home: Home, script: Callable[[Home], Awaitable[None]]) -> list[str]:
    """What happened while the script ran, with the turns beside it."""

    async def main() -> None:
        taking = asyncio.create_task(home.turns.take(lambda: not home.failed))
        await script(home)
        await settled()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    asyncio.run(main())
    return home.log


async def settled() -> None:
    """All that can happen by itself has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_others_are_stepped_while_a_commit_is_waited_for() -> None:
    """And written right after it, in a commit of their own."""

    async def script(home: Home) -> None:
        home.touch("a")
        await settled()
        home.touch("b")
        await settled()
        assert home.log == ["step a", "commit", "step b"]
        assert not home.turns.at_rest
        home.end()
        home.end()

    home = Home("a", "b")
    assert lived(home, script) == ["step a", "commit", "step b", "written a", "commit", "written b"]
    assert home.turns.at_rest


def test_an_execution_is_stepped_again_only_when_its_turn_is_written() -> None:
    """Neither what is being written nor what waits to be: a journal has no step that follows from one which may fail."""

    async def script(home: Home) -> None:
        home.touch("a")
        await settled()
        home.touch("b")
        await settled()
        home.touch("a", "b")
        await settled()
        assert home.log == ["step a", "commit", "step b"]
        for _ in range(4):
            home.end()
            await settled()

    home = Home("a", "b", "c")
    assert lived(home, script)[3:] == ["written a", "commit", "step a", "written b", "commit", "step b", "written a",
                                       "commit", "written b"]  # fmt: skip


def test_what_was_stepped_beside_a_commit_that_failed_is_never_written() -> None:
    """The home stops: memory may be ahead of the disk."""

    def fails() -> Committed:
        raise OSError

    async def script(home: Home) -> None:
        home.touch("a")
        await settled()
        home.touch("b")
        await settled()
        home.end(fails)
        home.end()

    home = Home("a", "b")
    assert lived(home, script) == ["step a", "commit", "step b"]
    assert home.written == []


def test_a_step_that_breaks_stops_no_other() -> None:
    """It is set aside, also where it was stepped beside a commit."""

    async def script(home: Home) -> None:
        home.broken = {"b", "c"}
        home.touch("a", "b")
        await settled()
        home.touch("c", "d")
        await settled()
        home.end()
        home.end()

    home = Home("a", "b", "c", "d")
    assert lived(home, script) == ["step a", "aside b", "commit", "aside c", "step d", "written a", "commit", "written d"]


MANY = [f"{number:03}" for number in range(2 * HALVED_MIN)]


@pytest.mark.parametrize(
    "step_seconds, commit_seconds, sizes",
    [
        (MILLISECOND, 10 * MILLISECOND, [64, 32, 32]),  # stepping takes 64 ms, writing 10: two halves, one beside the other
        (MILLISECOND, 500 * MILLISECOND, [64, 64]),  # a far server: half would be written no sooner
    ],
)
def test_all_that_go_in_step_are_halved_where_stepping_takes_longer(
    step_seconds: float, commit_seconds: float, sizes: list[int]
) -> None:
    """The other half is stepped while the first is written. What is known of both times is from the turns before."""

    async def script(home: Home) -> None:
        for _ in range(2):
            home.touch(*MANY)
            await settled()
            for _ in range(2):
                home.end(after=commit_seconds)
            await settled()
            while not home.ends.empty():
                home.ends.get_nowait()

    home = Home(*MANY, step_seconds=step_seconds)
    lived(home, script)
    assert [len(names) for names in home.written] == sizes


def test_a_store_that_commits_in_the_loop_gets_all_at_once() -> None:
    """There is nothing to do beside it."""

    async def script(home: Home) -> None:
        for _ in range(2):
            home.touch(*MANY)
            home.end(after=MILLISECOND)
            await settled()

    home = Home(*MANY, step_seconds=MILLISECOND)
    home.commits_apart = False
    lived(home, script)
    assert [len(names) for names in home.written] == [64, 64]
