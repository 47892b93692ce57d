"""Random definitions over all elements, played in every way: folded anew, cut, over crashes, with values missing (rule 3)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from definitions import Definition, definitions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import Recording
from reference.shape import EFFECT
from ways import WAYS, Played, going

from perdure.engine import events
from perdure.engine.events import AnyInput
from perdure.engine.execution import OPEN, PARKED, RUNNING, WAITING, Frame, Instance, path_of
from perdure.errors import Category, Failure
from perdure.testing.rehearsal import plan_of

CHECKED = settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
TURNS_MAX = 300
CATEGORIES: tuple[Category, ...] = ("technical", "business", "timeout")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])
@CHECKED
@given(definition=definitions(), seed=st.integers(0, 2**32))
def test_every_way_gives_the_same_facts(way: str, definition: Definition, seed: int) -> None:
    """Beside each goes a plain recording, compared after everything that arrives; at the end all is stepped again."""
    with going(way) as begin:
        play = Played(plan_of(definition.document, specs={EFFECT.name: EFFECT}), **WAYS[way])
        begin.plays.append(play)
        play.start(definition.input)
        World(play, random.Random(seed)).answer()


class World:
    """Whoever answers an execution, until it has ended, as chance will have it."""

    def __init__(self, play: Recording, chance: random.Random) -> None:
        self.play = play
        self.chance = chance

    def answer(self) -> None:
        for _ in range(TURNS_MAX):
            if self.play.execution.ended:
                return
            self.chance.choice(self._moves())()
        raise AssertionError(f"the execution never ends: {self.play.states()}")

    def _moves(self) -> list[Callable[[], Any]]:
        play = self.play
        moves: list[Callable[[], Any]] = [self._results] * 6 if play.active(RUNNING) else []
        moves += [self._decision] * 3 if play.active(PARKED) else []
        moves += [self._message] * 4 if play.active(WAITING) else []
        moves += [self._items] if self._open_loops() else []
        moves += [play.next_time] * 3 if play.index.next_due(play.execution) is not None else []
        moves += [self._resume] * 3 if play.execution.paused_at else []
        return [*moves, self._control] if not moves or self.chance.random() < 0.15 else moves

    def _results(self) -> None:
        """Several attempts end in one batch."""
        running = self.play.active(RUNNING)
        ended = self.chance.sample(running, self.chance.randint(1, min(3, len(running))))
        self.play.take(*(self._result(frame, instance) for frame, instance in ended))

    def _result(self, frame: Frame, instance: Instance) -> AnyInput:
        spent: dict[str, Any] = {"token": self.play.token(frame, instance), "started": self.play.now, "finished": self.play.now}
        number = self.chance.random()
        if instance.stopping and number < 0.6:
            return events.Result(outcome="stopped", **spent)
        if number < 0.6:
            output = self.chance.choice([1, 2, 7, "text", True, [1, 2], None, "large" * 500])
            return events.Result(output=self.play.encoded(output), **spent)
        if number < 0.7:
            return (
                events.Result(outcome="lost", crashed=True, **spent)
                if number < 0.65
                else events.Result(outcome="deferred", **spent)
            )
        code = self.chance.choice(["x.first", "order.empty", "timeout"])
        category = self.chance.choice(CATEGORIES)
        return events.Result(outcome="failed", error=Failure(code=code, title=code, category=category), **spent)

    def _decision(self) -> None:
        frame, instance = self.chance.choice(self.play.active(PARKED))
        action = self.chance.choice(["complete", "fail", "retry"])
        value = {"value": self.play.encoded(5)} if action == "complete" else {}
        self.play.operate(action, path_of(frame, instance), **value)

    def _message(self) -> None:
        """What one that waits may be waiting for."""
        play, chance = self.play, self.chance
        frame, instance = chance.choice(play.active(WAITING))
        token, data = play.token(frame, instance), play.encoded({"n": chance.randint(0, 3)})
        if instance.wait == "signal":
            play.signal(instance.wait_name, chance.randint(0, 9), key=instance.wait_key, to_all=chance.random() < 0.2)
        elif instance.wait == "event":
            play.take(events.Arrived(id=f"e{len(play.rows)}", type=instance.wait_name, at=play.now, data=data))
        elif instance.wait == "deferred":
            play.take(events.Complete(token=token, output=data))
        elif instance.wait == "child":
            self._child(frame, instance, data)
        elif chance.random() < 0.5 or not play.next_time():
            play.operate("skip", path_of(frame, instance))

    def _child(self, frame: Frame, instance: Instance, output: Any) -> None:
        token, progress = self.play.token(frame, instance), instance.progress
        assert progress is not None, "who waits for a child knows which"
        if not self.play.index.node(frame.path, instance.node).options["wait"]:
            self.play.take(events.Result(token=token, output=output))
            return
        status = self.chance.choice(["succeeded", "failed", "cancelled", "timed_out"])
        error = Failure(code="c.broken", title="It broke.") if status == "failed" else None
        self.play.take(events.ChildEnded(token=token, child=progress.child, status=status, output=output, error=error))

    def _open_loops(self) -> list[tuple[Frame, Instance]]:
        return [each for each in self.play.active(OPEN) if each[1].progress is not None and each[1].progress.accepts]

    def _items(self) -> None:
        frame, instance = self.chance.choice(self._open_loops())
        self.play.signal(self.chance.choice(["add", "close"]), [1, 2], path=path_of(frame, instance))

    def _resume(self) -> None:
        self.play.operate("resume", value=self.play.encoded(self.chance.choice(["frozen", "running"])))

    def _control(self) -> None:
        self.play.operate(self.chance.choice(["pause", "pause", "cancel", "cancel", "terminate"]))
