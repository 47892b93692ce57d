"""What of a batch stands or falls together: its shares by execution, what is left of it, and halving it around a poison."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed, Event, ExecutionsRefused, Turn


def check_emitters(batch: Batch) -> None:
    """Raises StoreError where an event of the batch is nobody's: it could neither stand nor fall with anybody."""
    if batch.events and any(event.execution is None for event in batch.events):
        raise StoreError(
            "Expected each event of a batch to name the execution that emitted it, but one names none.",
            remedy="Publish events from outside on their own.",
        )


def started_twice() -> StoreError:
    """What a batch meets that names one start twice."""
    return StoreError(
        "Expected a batch to start each execution once, but it names one twice.", remedy="Send one start per execution."
    )


def out_of_step(turns: Iterable[Turn], standings: Mapping[ExecutionId, tuple[int, int]]) -> set[ExecutionId]:
    """The executions whose turns do not follow, epoch by epoch and fact by fact, on where they stand: (epoch, last fact)."""
    reached = dict(standings)
    fenced = set()
    for turn in turns:
        if reached.get(turn.execution) == (turn.epoch, turn.first_seq - 1):
            reached[turn.execution] = (turn.epoch, turn.first_seq + turn.count - 1)
        else:
            fenced.add(turn.execution)
    return fenced


def without(batch: Batch, left_out: Collection[ExecutionId]) -> Batch:
    """What others than these write."""
    return Batch(
        starts=[start for start in batch.starts if start.execution not in left_out],
        turns=[turn for turn in batch.turns if turn.execution not in left_out],
        blobs=batch.blobs,
        messages=[message for message in batch.messages if message.sender not in left_out],
        events=[event for event in batch.events if event.execution not in left_out],
        snapshots=[snapshot for snapshot in batch.snapshots if snapshot.execution not in left_out],
        subscriptions=[each for each in batch.subscriptions if each.execution not in left_out],
        unsubscriptions=[each for each in batch.unsubscriptions if each.execution not in left_out],
        unlocks=[claim for claim in batch.unlocks if claim.execution not in left_out],
        tasks=[task for task in batch.tasks if task.execution not in left_out],
        task_stops=[stop for stop in batch.task_stops if stop.execution not in left_out],
        task_ends=[name for name in batch.task_ends if name.execution not in left_out],
    )


class Halving:
    """Halves a batch that the database refused, by execution, until the guilty stand alone.

    For each of `parts()` the writer says what became of it: `written` or `refused`. The others lose nothing but that they share
    no transaction. Blobs belong to nobody, so they are written before, on their own.
    """

    def __init__(self, batch: Batch, refusal: BaseException) -> None:
        self.told: list[Event] = []
        self._batch = batch
        self._heap: list[tuple[list[ExecutionId], BaseException]] = [(_parties(batch), refusal)]
        self._refused: dict[ExecutionId, str] = {}
        self._fenced: set[ExecutionId] = set()
        self._duplicates: set[ExecutionId] = set()
        self._half: list[ExecutionId] = []

    def parts(self) -> Iterator[Batch]:
        """The parts to be written in turn. `told`: events that were written ahead, which who begins to wait gets too."""
        while self._heap:
            parties, reason = self._heap.pop()
            if len(parties) == 1:
                self._refused[parties[0]] = str(reason)
                continue
            middle = len(parties) // 2
            for half in (parties[:middle], parties[middle:]):
                self._half = half
                yield _share(self._batch, set(half))

    def written(self, committed: Committed, fresh: Sequence[Event]) -> None:
        """The last part was written; `fresh`: those of its events that were new."""
        self.told += fresh
        self._fenced |= committed.fenced
        self._duplicates |= committed.duplicates

    def refused(self, refusal: BaseException) -> None:
        """The last part was refused."""
        self._heap.append((self._half, refusal))

    def outcome(self) -> ExecutionsRefused:
        """Who was guilty, and what became of the others."""
        committed = Committed(fenced=frozenset(self._fenced), duplicates=frozenset(self._duplicates))
        return ExecutionsRefused(self._refused, committed)


def blob_refused(refusal: BaseException) -> StoreError:
    """What a batch meets that holds a blob which cannot be stored."""
    return StoreError(
        f"Expected every blob of the batch to be storable, but the database refused one: {refusal}",
        remedy="Nothing of the batch was written; commit it without the blob.",
    )


def _parties(batch: Batch) -> list[ExecutionId]:
    """The executions that write in a batch, in the order of their appearance: what each writes stands or falls together."""
    named = [start.parent or start.execution for start in batch.starts] + [turn.execution for turn in batch.turns]
    named += [snapshot.execution for snapshot in batch.snapshots]
    named += [event.execution for event in batch.events if event.execution is not None]
    named += [each.execution for each in batch.subscriptions + batch.unsubscriptions]
    named += [claim.execution for claim in batch.unlocks]
    named += [each.execution for each in (*batch.tasks, *batch.task_stops, *batch.task_ends)]
    named += [message.sender or message.execution for message in batch.messages]
    return list(dict.fromkeys(named))


def _share(batch: Batch, parties: Collection[ExecutionId]) -> Batch:
    return Batch(
        starts=[start for start in batch.starts if (start.parent or start.execution) in parties],
        turns=[turn for turn in batch.turns if turn.execution in parties],
        messages=[message for message in batch.messages if (message.sender or message.execution) in parties],
        events=[event for event in batch.events if event.execution in parties],
        snapshots=[snapshot for snapshot in batch.snapshots if snapshot.execution in parties],
        subscriptions=[each for each in batch.subscriptions if each.execution in parties],
        unsubscriptions=[each for each in batch.unsubscriptions if each.execution in parties],
        unlocks=[claim for claim in batch.unlocks if claim.execution in parties],
        tasks=[task for task in batch.tasks if task.execution in parties],
        task_stops=[stop for stop in batch.task_stops if stop.execution in parties],
        task_ends=[name for name in batch.task_ends if name.execution in parties],
    )
