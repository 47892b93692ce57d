"""Where a store under test lives: what its author tells the suite, and how the suite runs a test that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from perdure.errors import PerdureError
from perdure.store.contract import Store

Suite = TypeVar("Suite")
Given = ParamSpec("Given")
Fault = TypeVar("Fault", bound=PerdureError)


class Place(Protocol):
    """Where a store lives. Each test gets a fresh one."""

    async def open(self) -> Store:
        """A store on the data of this place; each further call gives another store on the same data."""
        ...

    def die(self, store: Store) -> None:
        """What the sudden death of a process does to the store it had open: nothing more is written, its workers are dead."""
        ...


class SharedPlace(Place, Protocol):
    """Where a store lives that several processes can open, and whose surroundings can be spoiled."""

    def opener(self) -> tuple[str, str, dict[str, Any]]:
        """How another process opens it: module, async function, keyword arguments (plain JSON)."""
        ...

    def outlast(self, worker: str) -> None:
        """Let the time pass after which the death of this worker's process is known; nothing where it is known at once."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """While it is entered, somebody else reads in a transaction that stays open."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """While it is entered, somebody else holds the lock that writers need, for longer than stores of this place wait."""
        ...

    def full(self, store: Store) -> AbstractContextManager[None]:
        """While it is entered, there is no room for what `store` writes."""
        ...

    def read_only(self) -> AbstractContextManager[None]:
        """While it is entered, stores that are opened cannot write."""
        ...

    def damage(self) -> None:
        """Spoil what is stored, while no store is open."""
        ...

    def make_newer(self) -> None:
        """Make what is stored look as if a newer release had written it, while no store is open."""
        ...


async def raised(kind: type[Fault], call: Awaitable[object]) -> Fault:
    """The error of this kind that awaiting `call` raises; AssertionError when it raises none."""
    try:
        answer = await call
    except kind as error:
        return error
    raise AssertionError(f"Expected {kind.__name__}, but the call answered {answer!r}.")


def awaited(test: Callable[Concatenate[Suite, Given], Coroutine[Any, Any, None]]) -> Callable[Concatenate[Suite, Given], None]:
    """Run an async test in a loop of its own, so that the suite needs no plugin."""

    @wraps(test)
    def run(suite: Suite, /, *args: Given.args, **kwargs: Given.kwargs) -> None:
        asyncio.run(test(suite, *args, **kwargs))

    return run
