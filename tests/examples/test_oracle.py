"""The oracle for scientific workflows finds every kind of wrong ledger, and nothing wrong in a right one."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace
from typing import Any, Literal

import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import NANOSECONDS, Entry, Task, check_ledger

SCALE = 0.5
DIAMOND = {
    "split": Task(1.0, frozenset()),
    "left": Task(2.0, frozenset({"split"})),
    "right": Task(3.0, frozenset({"split"})),
    "merge": Task(1.0, frozenset({"left", "right"})),
}


def ideal_ledger(
    tasks: dict[str, Task], *, scale: float = SCALE, slots: int | None = None, failed: str | None = None, lag: float = 0.001
) -> list[Entry]:
    """What a faultless engine would leave behind: every task starts `lag` seconds after it may and a slot is free."""
    ended: set[str] = set()
    events: list[tuple[int, Literal["start", "end", "fail"], str]] = []
    running: list[tuple[float, str]] = []
    now, waiting = 1.0, list(tasks)
    while waiting or running:
        for name in [name for name in waiting if tasks[name].parents <= ended]:
            if slots is None or len(running) < slots:
                waiting.remove(name)
                events.append((round((now + lag) * NANOSECONDS), "start", name))
                heapq.heappush(running, (now + lag + tasks[name].seconds * scale, name))
        if not running:
            break  # the rest depends on what failed
        now, name = heapq.heappop(running)
        events.append((round(now * NANOSECONDS), "fail" if name == failed else "end", name))
        if name != failed:
            ended.add(name)
    events.sort(key=lambda entry: (entry[0], entry[1] == "start"))
    return [Entry(event, name, f"key of {name}", at, 1) for at, event, name in events]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Task]:
    """Up to twelve tasks, each depending on some of those before it."""
    names = [f"t{number}" for number in range(draw(st.integers(2, 12)))]
    return {
        name: Task(draw(st.integers(1, 20)) / 10, frozenset(draw(st.sets(st.sampled_from(names[:number]))) if number else ()))
        for number, name in enumerate(names)
    }


def without(ledger: list[Entry], event: str, task: str) -> list[Entry]:
    return [entry for entry in ledger if (entry.event, entry.task) != (event, task)]


@given(graphs(), st.sampled_from([None, 1, 3]))
def test_a_faultless_run_has_no_findings(tasks: dict[str, Task], slots: int | None) -> None:
    """Whatever the graph and the slots: a schedule that respects both is found right."""
    assert check_ledger(tasks, ideal_ledger(tasks, slots=slots), scale=SCALE, slots=slots) == []


@given(graphs(), st.randoms(use_true_random=False))
def test_a_faultless_failure_has_no_findings(tasks: dict[str, Task], chance: random.Random) -> None:
    """A run in which one task failed and exactly its descendants did not run is found right."""
    failed = chance.choice(list(tasks))
    assert check_ledger(tasks, ideal_ledger(tasks, failed=failed), scale=SCALE, failed=failed) == []


@given(graphs(), st.randoms(use_true_random=False))
def test_a_lost_entry_is_found(tasks: dict[str, Task], chance: random.Random) -> None:
    """Whichever line is missing, a start or an end, something is wrong."""
    ledger = ideal_ledger(tasks)
    ledger.pop(chance.randrange(len(ledger)))
    assert check_ledger(tasks, ledger, scale=SCALE)


@given(graphs(), st.randoms(use_true_random=False))
def test_a_repeated_task_is_found(tasks: dict[str, Task], chance: random.Random) -> None:
    """A task that runs twice, in the same process or in another one that lives, is wrong."""
    ledger = ideal_ledger(tasks)
    twice = chance.choice(list(tasks))
    later = ledger[-1].at + NANOSECONDS
    pid = chance.choice([1, 2])
    again = [replace(entry, at=entry.at + later, pid=pid) for entry in ledger if entry.task == twice]
    assert check_ledger(tasks, ledger + again, scale=SCALE)


@given(graphs(), st.randoms(use_true_random=False))
def test_a_task_that_runs_before_its_parent_ended_is_found(tasks: dict[str, Task], chance: random.Random) -> None:
    """Moved to before the end of any one of its parents, a task has started too early."""
    with_parents = [name for name, task in tasks.items() if task.parents]
    if not with_parents:
        return
    early = chance.choice(with_parents)
    ledger = ideal_ledger(tasks)
    parent = chance.choice(sorted(tasks[early].parents))
    end = next(entry.at for entry in ledger if (entry.event, entry.task) == ("end", parent))
    start = next(entry.at for entry in ledger if (entry.event, entry.task) == ("start", early))
    moved = [replace(entry, at=entry.at - start + end - 1) if entry.task == early else entry for entry in ledger]
    findings = check_ledger(tasks, moved, scale=SCALE)
    assert f"{early} started before its parent {parent} had ended." in findings


def test_a_task_that_ends_too_soon_is_found() -> None:
    """A task that took less than its recorded time did not do its work."""
    ledger = [replace(entry, at=entry.at - 1_000_000_000) if entry.event == "end" and entry.task == "merge" else entry
              for entry in ideal_ledger(DIAMOND)]  # fmt: skip
    assert any("merge took" in finding for finding in check_ledger(DIAMOND, ledger, scale=SCALE))


def test_a_run_quicker_than_the_slots_allow_is_found() -> None:
    """Two tasks at a time where one slot was given are too many."""
    findings = check_ledger(DIAMOND, ideal_ledger(DIAMOND), scale=SCALE, slots=1)
    assert findings == ["2 tasks ran at the same time in 1 slots."]


def test_a_descendant_that_runs_after_a_failure_is_found() -> None:
    """What depends on a failed task must not start, even if the rest of the run is right."""
    ledger = [*ideal_ledger(DIAMOND, failed="left"), *ideal_ledger(DIAMOND)[-2:]]
    findings = check_ledger(DIAMOND, ledger, scale=SCALE, failed="left")
    assert "merge started, though it depends on left." in findings


def test_a_bystander_that_a_failure_stopped_is_found() -> None:
    """What does not depend on the failed task must complete."""
    ledger = without(without(ideal_ledger(DIAMOND, failed="left"), "start", "right"), "end", "right")
    assert check_ledger(DIAMOND, ledger, scale=SCALE, failed="left") == ["right never completed."]


@pytest.mark.parametrize("event", ["fail", "start"])
def test_a_failure_that_did_not_happen_is_found(event: str) -> None:
    """The task told to fail has to start and to fail, once."""
    assert check_ledger(DIAMOND, without(ideal_ledger(DIAMOND, failed="left"), event, "left"), scale=SCALE, failed="left")


def test_a_failure_that_was_tried_again_is_found() -> None:
    """A failure for good is tried once only."""
    ledger = ideal_ledger(DIAMOND, failed="left")
    again = [replace(entry, at=entry.at + NANOSECONDS) for entry in ledger if entry.task == "left"]
    assert "left failed 2 times, not once." in check_ledger(DIAMOND, ledger + again, scale=SCALE, failed="left")


def test_a_failure_nobody_asked_for_is_found() -> None:
    """A task that fails on its own account is wrong."""
    ledger = [replace(entry, event="fail") if (entry.event, entry.task) == ("end", "merge") else entry
              for entry in ideal_ledger(DIAMOND)]  # fmt: skip
    assert "merge failed, though it was not told to." in check_ledger(DIAMOND, ledger, scale=SCALE)


def test_an_empty_ledger_and_an_unknown_task_are_found() -> None:
    """A run that left nothing, or something that is not of the graph, is wrong."""
    assert check_ledger(DIAMOND, [], scale=SCALE) == ["The ledger is empty."]
    stranger = Entry("start", "stranger", "key", 0, 1)
    assert "stranger is no task of the graph." in check_ledger(DIAMOND, [*ideal_ledger(DIAMOND), stranger], scale=SCALE)


def killed_ledger(*, after: str, again: tuple[str, ...], key: str | None = None) -> list[Entry]:
    """A run of the diamond whose process 1 was killed after this entry; process 2 ran `again` and all that had not started."""
    whole = ideal_ledger(DIAMOND)
    cut = next(index for index, entry in enumerate(whole) if f"{entry.event} {entry.task}" == after) + 1
    started = {entry.task for entry in whole[:cut] if entry.event == "start"}
    later = whole[-1].at
    return whole[:cut] + [
        replace(entry, at=entry.at + later, pid=2, key=key or entry.key)
        for entry in whole
        if entry.task in again or entry.task not in started
    ]


def test_what_was_in_flight_at_a_kill_may_run_again() -> None:
    """Tasks that had not ended, or whose end nobody had acted on, may run once more under the same key."""
    in_flight = killed_ledger(after="start right", again=("left", "right"))
    assert check_ledger(DIAMOND, in_flight, scale=SCALE, killed=[1]) == []
    just_ended = killed_ledger(after="end left", again=("left", "right"))
    assert check_ledger(DIAMOND, just_ended, scale=SCALE, killed=[1]) == []
    recorded_in_time = killed_ledger(after="end left", again=("right",))
    assert check_ledger(DIAMOND, recorded_in_time, scale=SCALE, killed=[1]) == []


def test_what_was_recorded_before_a_kill_must_not_run_again() -> None:
    """`split` was durable, since `left` had started after it: running it again means that its result was lost."""
    ledger = killed_ledger(after="start right", again=("split", "left", "right"))
    assert any("split ran again" in finding for finding in check_ledger(DIAMOND, ledger, scale=SCALE, killed=[1]))


def test_a_sibling_that_ended_earlier_is_durable_too() -> None:
    """Results are recorded in order: once a child of a later result has started, the earlier result is safe as well."""
    tasks = {"a": Task(1.0, frozenset()), "b": Task(2.0, frozenset()), "c": Task(1.0, frozenset({"b"}))}
    whole = ideal_ledger(tasks)
    again = [replace(entry, at=entry.at + whole[-1].at, pid=2) for entry in whole if entry.task in ("a", "c")]
    findings = check_ledger(tasks, [entry for entry in whole if entry.task != "c" or entry.event == "start"] + again,
                            scale=SCALE, killed=[1])  # fmt: skip
    assert any("a ran again" in finding for finding in findings)
    assert not any("c ran again" in finding for finding in findings)


def test_another_key_after_a_kill_is_found() -> None:
    """The effect key is the same over a crash, so that a receiver can drop the repeat."""
    ledger = killed_ledger(after="start right", again=("left", "right"), key="another")
    assert any("effect keys" in finding for finding in check_ledger(DIAMOND, ledger, scale=SCALE, killed=[1]))


def test_what_was_in_flight_at_a_kill_must_run_again() -> None:
    """A task that the kill interrupted and that nobody took up again never completed."""
    ledger = killed_ledger(after="start right", again=("right",))
    assert "left never completed." in check_ledger(DIAMOND, ledger, scale=SCALE, killed=[1])


def test_the_makespan_is_told_beside_its_bound() -> None:
    """The bound is the critical path, or with few slots the sum of all over the slots."""
    ledger = ideal_ledger(DIAMOND, lag=0.0)
    assert oracle.makespan(DIAMOND, ledger, scale=SCALE) == oracle.Makespan(2.5, 2.5)
    assert oracle.makespan(DIAMOND, ledger, scale=SCALE, slots=1).bound == 3.5


@pytest.mark.parametrize(
    "document",
    [
        {
            "workflow": {
                "specification": {"tasks": [{"id": "a", "parents": []}, {"id": "b", "parents": ["a"]}]},
                "execution": {"tasks": [{"id": "b", "runtimeInSeconds": 2}, {"id": "a", "runtimeInSeconds": 1}]},
            }
        },
        {"tasks": [["a", 1, []], ["b", 2, [0]]]},
    ],
)
def test_both_forms_of_a_recording_give_the_same_graph(document: dict[str, Any]) -> None:
    """The full and the compact form of a recording are read alike."""
    assert oracle.read_tasks(document) == {"a": Task(1, frozenset()), "b": Task(2, frozenset({"a"}))}


def test_descendants_and_critical_path_are_those_of_the_graph() -> None:
    """Descendants reach to the sinks; the critical path is the longest chain."""
    assert oracle.descendants(DIAMOND, "split") == {"left", "right", "merge"}
    assert oracle.descendants(DIAMOND, "merge") == set()
    assert oracle.critical_path(DIAMOND) == 5.0
