"""The audit of a store after chaos: what was acknowledged, what the receiver saw and what the journals say, compared.

Each violation is a sentence; none means that nothing was lost, nothing recorded twice, and everything ended as it should.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from expected import APART_SECONDS, AT_MOST_ONCE, CLOCK_SECONDS, Deed, Expected, Given, expected, planned, shown, signals_for
from receiver import Receipt, receipts
from roles import Place, noted

from perdure.app import open_client
from perdure.engine import events
from perdure.ids import effect_key, id_text, instance_path
from perdure.operations.executions import Executions, Shown

EXECUTIONS_MAX = 1_000_000
FINALS = (events.Done, events.NodeFailed, events.Skipped, events.NodeCancelled)
SENTENCES_MAX = 40
"""More violations than these are counted and not told."""

Instance = tuple[str, str, int]


@dataclass
class Audit:
    """What an audit found: sentences, and figures."""

    violations: list[str] = field(default_factory=list)
    lost: int = 0  # starts and signals that were acknowledged
    executions: int = 0
    results: int = 0
    received: int = 0
    repeated: int = 0
    takeovers: int = 0

    def told(self) -> list[str]:
        more = len(self.violations) - SENTENCES_MAX
        return self.violations[:SENTENCES_MAX] + ([f"… and {more} more"] if more > 0 else [])


async def audit(place: Place) -> Audit:
    """Everything that is to hold once all has ended, but for `perdure verify`, which is a command of its own."""
    async with open_client(place.settings()) as (_, executions):
        return await audited(executions, History.of(place))


@dataclass
class History:
    """What the world outside knows: starts and signals that were acknowledged, and what the receiver was sent."""

    seed: int
    starts: list[tuple[int, str]] = field(default_factory=list)  # the number of what was planned, the execution
    signals: list[tuple[str, str]] = field(default_factory=list)  # the tag of whom it was for, its name
    receipts: list[Receipt] = field(default_factory=list)
    flows: str = "all"

    @classmethod
    def of(cls, place: Place) -> History:
        """What the processes of a storm wrote down."""
        return cls(
            place.seed,
            starts=[(int(str(line["number"])), str(line["execution"])) for line in noted(place.starts)],
            signals=[(str(line["tag"]), str(line["name"])) for line in noted(place.signals)],
            receipts=receipts(place.ledger),
            flows=place.flows,
        )


async def audited(executions: Executions, history: History) -> Audit:
    """A store, held against what the world outside knows."""
    found = Audit()
    arrived = history.receipts
    seen = [await _seen(executions, row) for row in await executions.list(limit=EXECUTIONS_MAX)]
    found.executions = len(seen)
    found.results = sum(sum(each.results.values()) for each in seen)
    found.takeovers = sum(each.takeovers for each in seen)
    found.received = len(arrived)
    found.repeated = len(arrived) - len({receipt.key for receipt in arrived})
    lost = [*_lost_starts(history, seen), *_lost_signals(history, seen)]
    found.lost = len(lost)
    found.violations += lost
    found.violations += _about_starts(history, seen)
    found.violations += _about_signals(seen)
    for each in seen:
        found.violations += _about_one(each)
    found.violations += _about_effects(arrived, seen)
    found.violations += _about_time(arrived)
    return found


@dataclass
class Seen:
    """One execution as the store has it: what it was given, how it ended, and what its journal says of effects and results."""

    text: str
    given: Given
    key: str
    end: tuple[str, Any]
    expected: Expected
    results: Counter[Instance]  # final facts by instance
    sendings: dict[str, int]  # effect key → how often the journal allowed it to be sent
    done: set[str]  # keys of effects whose success is recorded
    signals: set[str]  # ids that a step took in
    takeovers: int
    is_child: bool


async def _seen(executions: Executions, row: Any) -> Seen:
    one = await executions.show(row.execution)
    facts = [fact for moment in one.timeline for fact in moment.facts]
    started = next(fact for fact in facts if isinstance(fact, events.Started))
    given = await executions.value(one.row, started.input)
    state = one.state
    end = (one.status, await executions.value(one.row, state.output) if state.error is None else state.error.code)
    asked = Given(one.row.workflow, given["tag"], given["n"])
    inputs = [each for moment in one.timeline for each in moment.inputs]
    sendings, done = _effects(one, facts)
    return Seen(
        text=id_text(row.execution), given=asked, key=started.key, end=end, expected=expected(asked),
        results=Counter((fact.frame, fact.node, fact.visit) for fact in facts if isinstance(fact, FINALS)),
        sendings=sendings, done=done, signals={each.id for each in inputs if isinstance(each, events.Signal)},
        takeovers=sum(isinstance(each, events.Recovered) for each in inputs), is_child=bool(started.parent),
    )  # fmt: skip


def _effects(one: Shown, facts: list[Any]) -> tuple[dict[str, int], set[str]]:
    """How often each effect may have been sent (once for each time it was scheduled, and for each worker it was lost with)."""
    sendings: dict[str, int] = defaultdict(int)
    done = set()
    keys: dict[Instance, str] = {}
    for fact in facts:
        if isinstance(fact, events.Scheduled | events.Lost | events.Done):
            instance = (fact.frame, fact.node, fact.visit)
            if isinstance(fact, events.Scheduled):
                path = instance_path(fact.frame, fact.node, fact.visit)
                keys[instance] = effect_key(one.row.execution, path, fact.visit, fact.generation)
            if instance not in keys:
                continue
            if isinstance(fact, events.Done):
                done.add(keys[instance])
            else:
                sendings[keys[instance]] += 1
    return sendings, done


# -- what was acknowledged ----------------------------------------------------------------------------------------------------


def _lost_starts(history: History, seen: list[Seen]) -> Iterator[str]:
    known = {each.text for each in seen}
    for number, execution in dict.fromkeys(history.starts):
        if execution not in known:
            key = planned(history.seed, number, history.flows).tag
            yield f"The start of {execution} (key {key}) was acknowledged, but the store has no such execution."


def _lost_signals(history: History, seen: list[Seen]) -> Iterator[str]:
    taken = {each.given.tag: each.signals for each in seen}
    for tag, name in dict.fromkeys(history.signals):
        if f"{name}-{tag}" not in taken.get(tag, ()):
            yield f"The signal {name} to {tag} was acknowledged, but no step took it in."


def _about_starts(history: History, seen: list[Seen]) -> Iterator[str]:
    """A key has one execution, which is what every start with it is answered; a child is started, and once."""
    answers: dict[int, set[str]] = defaultdict(set)
    for number, execution in history.starts:
        answers[number].add(execution)
    for number, executions in sorted(answers.items()):
        if len(executions) > 1:
            key = planned(history.seed, number, history.flows).tag
            yield f"The key {key} was answered with {len(executions)} executions: {', '.join(sorted(executions))}."
    tags = Counter(each.given.tag for each in seen)
    for tag, count in tags.items():
        if count > 1:
            yield f"{tag} has {count} executions."
    for each in seen:
        if not each.is_child and each.key != each.given.tag:
            yield f"{each.text} was started with the key {each.given.tag}, but has the key {each.key!r}."
        for child in each.expected.children:
            if child.tag not in tags:
                yield f"{each.text} ({each.given.tag}) has ended, but its child {child.tag} was never started."


def _about_signals(seen: list[Seen]) -> Iterator[str]:
    for each in seen:
        if each.given.flow == "ask":
            for name, _, _ in signals_for(each.given):
                if f"{name}-{each.given.tag}" not in each.signals:
                    yield f"{each.text} ({each.given.tag}) has ended without its signal {name}."


# -- how it ended -----------------------------------------------------------------------------------------------------------


def _about_one(each: Seen) -> Iterator[str]:
    if each.end not in each.expected.ends:
        ends = " or ".join(map(shown, each.expected.ends))
        what = f"{each.text} ({each.given.flow} {each.given.tag}, n={each.given.n})"
        yield f"{what} was to end {ends}, but ended {shown(each.end)}."
    for (frame, node, visit), count in each.results.items():
        if count > 1:
            yield f"{each.text} records {count} ends of {instance_path(frame, node, visit)}."


def _about_effects(arrived: list[Receipt], seen: list[Seen]) -> Iterator[str]:
    """At least once, at most as often as the journal allows, one key a deed, and no deed that was not to be."""
    by_key: dict[str, list[Receipt]] = defaultdict(list)
    keys: dict[Deed, set[str]] = defaultdict(set)
    for receipt in arrived:
        by_key[receipt.key].append(receipt)
        keys[receipt.tag, receipt.deed, receipt.at].add(receipt.key)
    wanted = {deed for each in seen for deed in each.expected.deeds}
    yield from _about_deeds(keys, wanted)
    sendings = {key: count for each in seen for key, count in each.sendings.items()}
    for key, receipts_ in by_key.items():
        first = receipts_[0]
        what = f"{first.deed} {first.at} of {first.tag} ({key})"
        if key not in sendings:
            yield f"{what} was received, but no journal says that it was to be sent."
        elif len(receipts_) > sendings[key]:
            yield f"{what} was received {len(receipts_)} times, but the journal allows {sendings[key]}."
        if first.deed in AT_MOST_ONCE and len(receipts_) > 1:
            yield f"{what} was received {len(receipts_)} times, but at most once was promised."
    for each in seen:
        for key in each.done:
            if not any(receipt.fate == "done" for receipt in by_key.get(key, ())):
                whose = f"{each.text} ({each.given.tag})"
                yield f"{whose} records the success of the effect {key}, which the receiver never carried out."


def _about_time(arrived: list[Receipt]) -> Iterator[str]:
    """What `clock` does after its delay is never received before the delay has passed for the receiver."""
    begun = {
        receipt.tag: receipt.seconds for receipt in reversed(arrived) if (receipt.deed, receipt.fate) == ("before", "done")
    }
    for receipt in arrived:
        passed = receipt.seconds - begun.get(receipt.tag, 0.0)
        if receipt.deed == "after" and passed < CLOCK_SECONDS - APART_SECONDS:
            yield f"The delay of {receipt.tag} was over {passed:.3f} s after what comes before, not {CLOCK_SECONDS:g} s."


def _about_deeds(keys: dict[Deed, set[str]], wanted: set[Deed]) -> Iterable[str]:
    for tag, deed, at in sorted(wanted - keys.keys()):
        if deed not in AT_MOST_ONCE:
            yield f"{deed} {at} of {tag} was never received."
    for tag, deed, at in sorted(keys.keys() - wanted):
        yield f"{deed} {at} of {tag} was received, but it was not to be done."
    for (tag, deed, at), several in keys.items():
        if len(several) > 1:
            yield f"{deed} {at} of {tag} was received under {len(several)} keys."
