"""A loop in which one worker may stand still, as a process does that is stopped, while all others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

from perdure.testing.world import JumpingLoop


class Standing:
    """Whether a worker stands still, and what it would have done meanwhile: that it does when it goes on."""

    def __init__(self) -> None:
        self.still = False
        self._held: list[_Step] = []

    def hold(self, step: _Step) -> None:
        """It comes to this only later."""
        self._held.append(step)

    def go_on(self) -> None:
        """Do what has become due, in the order in which it became so."""
        self.still = False
        held, self._held = self._held, []
        for step in held:
            step.again()


standing: ContextVar[Standing] = ContextVar("whose steps a context takes")


class _Step:
    """Something that a worker does without going back to the loop."""

    __slots__ = ("_arguments", "_callback", "_context", "_loop", "_of", "handle")

    def __init__(
        self, of: Standing, loop: StandstillLoop, callback: Callable[..., Any], arguments: Any, context: Context
    ) -> None:
        self._of = of
        self._loop = loop
        self._callback = callback
        self._arguments = arguments
        self._context = context
        self.handle: asyncio.Handle | None = None  # by which it may be cancelled

    def __call__(self) -> None:
        if self.handle is None or self.handle.cancelled():
            return
        if self._of.still:
            self._of.hold(self)
            return
        self.handle = None
        self._callback(*self._arguments)

    def again(self) -> None:
        """The worker goes on."""
        asyncio.SelectorEventLoop.call_soon(self._loop, self, context=self._context)


class StandstillLoop(JumpingLoop):
    """A loop on the world's time that takes no step of a worker which stands still."""

    def call_soon(  # type: ignore[override]  # the loop's own one is typed by what the callback takes
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        found = context if context is not None else copy_context()
        of = found.get(standing)
        if of is None:
            return super().call_soon(callback, *args, context=found)
        step = _Step(of, self, callback, args, found)
        step.handle = super().call_soon(step, context=found)
        return step.handle

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        found = context if context is not None else copy_context()
        of = found.get(standing)
        if of is None:
            return super().call_at(when, callback, *args, context=found)
        step = _Step(of, self, callback, args, found)
        handle = step.handle = super().call_at(when, step, context=found)
        return handle
