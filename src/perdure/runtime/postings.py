"""The attempts of an execution that its home leaves to others: tasks, posted, stopped and ended with the turn that says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from perdure.clock import MICROSECONDS
from perdure.engine.codec import encode_value
from perdure.engine.commands import Run, Stop
from perdure.engine.events import AnyInput, InstanceFact, Lost, Result, Token
from perdure.engine.execution import RUNNING, Execution
from perdure.errors import Failure
from perdure.ids import instance_path
from perdure.labels import Labels, labels_text, satisfies, worker_with
from perdure.store.contract import Batch
from perdure.store.tasks import Task, TaskName, TaskStop

if TYPE_CHECKING:
    from perdure.engine.machine import Stepped
    from perdure.runtime.hot import Hot

Key = tuple[str, str, int]
"""Frame, node, visit."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a task: the attempt, and the definition whose node types it may call."""

    run: Run
    workflow: str
    digest: bytes


_decode_asked = msgspec.msgpack.Decoder(Asked).decode


def asked_by(task: Task) -> Asked:
    """What a task asks for. Raises `msgspec.DecodeError` where it is damaged."""
    return _decode_asked(task.body)


class Posting(msgspec.Struct):
    """A task that is there. `told`: that nobody will report of it is an input already."""

    token: Token
    number: int
    told: bool = False


class Postings:
    """The tasks of one execution in memory, as the turn that is being written leaves them."""

    __slots__ = ("_postings", "_reported")

    def __init__(self) -> None:
        self._postings: dict[Key, Posting] = {}
        self._reported: set[str] = set()  # keys of reports that wait to be taken in: their tasks are gone

    def __len__(self) -> int:
        return len(self._postings)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The attempts that others carry out."""
        return tuple(posting.token for posting in self._postings.values())

    def read(self, tasks: Iterable[Task]) -> None:
        """Know what the store has, instead of what was known."""
        before, self._postings = self._postings, {}
        for task in tasks:
            token = asked_by(task).run.token
            known = before.get(_key(token))
            told = known is not None and known.number == task.number and known.told
            self._postings[_key(token)] = Posting(token, task.number, told)

    def reported(self, key: str) -> None:
        """The report with this key has come."""
        self._reported.add(key)

    def has(self, token: Token, number: int) -> bool:
        """Is exactly this task still wanted?"""
        posting = self._postings.get(_key(token))
        return posting is not None and posting.number == number

    def forget(self) -> None:
        """Nothing of it is written."""
        self._postings = {}

    # -- a turn -------------------------------------------------------------------------------------------------------

    def carry(
        self, hot: Hot, done: Stepped, taken: list[tuple[AnyInput, int]], at: int, batch: Batch, labels: Labels, *,
        overflows: bool = False,
    ) -> bool:  # fmt: skip
        """Add to the turn's batch what it says of tasks, and take out of its commands what this worker does not carry out.

        `taken`: its inputs, each with its inbox position, 0 = none. `overflows`: leave to others also what could run here.
        Whether anything was added.
        """
        for given, position in taken:
            if position and type(given) is Result:
                self._drop(given.token)
        posted: dict[Key, Task] = {}
        stops: list[TaskStop] = []
        here = []
        for command in done.commands:
            if type(command) is Run and (needs := _needs(hot, command.token, labels, overflows)) is not None:
                if _runs(hot.execution, command.token):
                    posted[_key(command.token)] = self._task(hot, command, needs, at)
            elif type(command) is Stop and (_key(command.token) in self._postings or _key(command.token) in posted):
                if _runs(hot.execution, command.token):
                    stops.append(self._stop(hot, command, posted))
            else:
                here.append(command)
        done.commands[:] = here
        ends = [self._name(hot, key) for key in self._over(hot.execution, done, posted)]
        for each in ends:
            del self._postings[each[0]]
        for key, task in posted.items():
            self._postings[key] = Posting(asked_by(task).run.token, task.number)
        batch.task_ends += [name for _, name in ends]
        batch.task_stops += stops
        batch.tasks += posted.values()
        return bool(posted or stops or ends)

    def _task(self, hot: Hot, command: Run, needs: Labels, at: int) -> Task:
        token, execution = command.token, hot.execution
        before = self._postings.get(_key(token))
        run = msgspec.structs.replace(command, queue_timeout=0)  # the store knows until when it may begin
        return Task(
            execution=hot.id, path=_path(token), number=max(execution.seq, before.number + 1 if before is not None else 0),
            tenant=hot.tenant, needs=labels_text(needs), priority=execution.priority, at=at,
            until=at + command.queue_timeout if command.queue_timeout else 0,
            body=encode_value(Asked(run=run, workflow=hot.workflow, digest=execution.digest)),
        )  # fmt: skip

    def _stop(self, hot: Hot, command: Stop, posted: dict[Key, Task]) -> TaskStop:
        key = _key(command.token)
        number = posted[key].number if key in posted else self._postings[key].number
        return TaskStop(execution=hot.id, path=_path(command.token), number=number, reason=command.reason)

    def _over(self, execution: Execution, done: Stepped, posted: dict[Key, Task]) -> list[Key]:
        """What is wanted no more, and not repeated."""
        if not self._postings:
            return []
        if execution.ended:
            return list(self._postings)
        found: dict[Key, None] = {}
        for fact in done.facts:
            key = (fact.frame, fact.node, fact.visit) if isinstance(fact, InstanceFact) else None
            posting = self._postings.get(key) if key is not None and key not in posted else None
            if key is not None and posting is not None and (type(fact) is Lost or not _runs(execution, posting.token)):
                found[key] = None
        return list(found)

    def _name(self, hot: Hot, key: Key) -> tuple[Key, TaskName]:
        path = instance_path(*key)
        return key, TaskName(execution=hot.id, path=path, number=self._postings[key].number)

    def _drop(self, token: Token) -> None:
        """Its report is taken in, and has taken the task away; but a task that was posted since is another one."""
        posting = self._postings.get(_key(token))
        key = f"{_path(token)}@{posting.number}" if posting is not None else ""
        if key in self._reported:
            self._reported.discard(key)
            del self._postings[_key(token)]

    # -- what nobody reports of ---------------------------------------------------------------------------------------

    def given_up(self, task: Task, now: int) -> Result | None:
        """The result of a task that nobody will report of; None where it was told before, or is another one by now."""
        asked = asked_by(task)
        token = asked.run.token
        posting = self._postings.get(_key(token))
        if posting is None or posting.number != task.number or posting.told:
            return None
        posting.told = True
        if task.left == "lost":
            return Result(token=token, outcome="lost", crashed=True, finished=now)
        if task.left == "stopped":
            return Result(token=token, outcome="stopped", finished=now)
        seconds = (task.until - task.at) / MICROSECONDS
        return Result(
            token=token, outcome="failed", finished=now,
            error=Failure(
                code="timeout.queue", category="timeout",
                title=f"`{task.path}` timed out: no {worker_with(task.needs)} had a free slot within {seconds:g} s.",
            ),
        )  # fmt: skip


def _key(token: Token) -> Key:
    return token.frame, token.node, token.visit


def _path(token: Token) -> str:
    return instance_path(token.frame, token.node, token.visit)


def _runs(execution: Execution, token: Token) -> bool:
    """Is this attempt still wanted?"""
    instance = execution.instance(token)
    running = instance is not None and instance.state == RUNNING and instance.attempt == token.attempt
    return running and not execution.ended


def _needs(hot: Hot, token: Token, labels: Labels, overflows: bool) -> Labels | None:
    """The labels that an attempt asks for, where it is left to others: a worker with `labels` lacks some, or `overflows`."""
    if token.frame not in hot.index.frames:
        return None
    needs = hot.index.node(token.frame, token.node).runs_on or {}
    return needs if overflows or not satisfies(labels, needs) else None
