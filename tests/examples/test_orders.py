"""Orders are fulfilled or undone, never half: on every way, in a bad shop, cancelled at any moment, killed at any moment."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from instances import ROOT

from conftest import Finished, Perdure
from perdure import Engine, open_engine
from perdure.app import open_client
from perdure.engine.execution import STATE_NAMES, Frame
from perdure.errors import InputRefused
from perdure.ids import ExecutionId, instance_path
from perdure.operations.definitions import read_file
from perdure.operations.events import event_object
from perdure.operations.verification import Verification
from perdure.runtime.hot import Outcome
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL

sys.path.insert(0, str(ROOT / "examples" / "orders"))  # the shop is part of the example, not of the product

from books import ORDERS, PRICES, faults
from shop import Shop, Trouble

ORDER = ROOT / "examples" / "orders" / "order.yaml"
GUIDE = ROOT / "docs" / "guide" / "orders.md"
SECONDS_MAX = 120  # for one run; far more than any needs

APPROVE = ("approve-order", {"by": "Grace"})
OTHER_CARD = ("approve-payment", {"card": "good"})
AT_ONCE = {"approval": "1ms", "card": "1ms"}

Signal = tuple[str, Any]
Patience = dict[str, str]


def given(shop: Shop, order: str, patience: Patience | None = None, **more: str) -> dict[str, Any]:
    """The input of an order; prices are waited for as long as a slow machine may take."""
    return {"shop": shop.url, "order": order, "patience": {"prices": "1h", **(patience or {})}, **more}


# -- running orders in this process ---------------------------------------------------------------------------------------


class Day:
    """Orders that one engine carries out at a shop, all at the same time."""

    def __init__(self, engine: Engine, shop: Shop) -> None:
        self.engine = engine
        self.shop = shop
        self.executions: dict[str, ExecutionId] = {}

    async def start(self, order: str, *signals: Signal, patience: Patience | None = None, **more: str) -> ExecutionId:
        """Start an order, and send it what it will wait for: a signal may come before anybody waits for it."""
        begun = await self.engine.executions.start(read_file(ORDER), given(self.shop, order, patience, **more))
        self.executions[order] = begun.execution
        for name, payload in signals:
            await self.engine.executions.signal(begun.execution, name, payload, key=order)
        return begun.execution

    async def end(self) -> dict[str, Outcome]:
        """How each order ended."""
        async with asyncio.timeout(SECONDS_MAX):
            return {order: await self.engine.result(execution) for order, execution in self.executions.items()}


class Evening(NamedTuple):
    """What is known when all orders have ended: how, the shop's ledger, and the events by order."""

    outcomes: dict[str, Outcome]
    ledger: dict[str, Any]
    events: dict[str, Any]

    def done(self, order: str) -> dict[str, int]:
        """How often the shop did what for this order."""
        deeds = [effect["deed"] for effect in self.ledger["effects"] if effect["order"] == order and effect["done"]]
        return dict(Counter(deeds))


def whole_day(folder: Path, shop: Shop, begin: Callable[[Day], Awaitable[object]]) -> Evening:
    """Begin a day, carry all its orders to their end, and check what holds on every day."""

    async def run() -> Evening:
        settings = Settings(store=str(folder / "perdure.db"))
        async with open_engine(settings) as engine:
            day = Day(engine, shop)
            await begin(day)
            outcomes = await day.end()
        return Evening(outcomes, shop.ledger(), await evening_of(settings))

    evening = asyncio.run(run())
    assert faults(evening.ledger) == []
    return evening


async def evening_of(settings: Settings) -> dict[str, Any]:
    """The events by order, once each; every execution in the store has ended, and everything in it is sound."""
    async with open_client(settings) as (store, _):
        assert [finding.sentence async for finding in Verification(store, deep=True).findings()] == []
        assert [row for row in await store.rows() if row.status < FIRST_FINAL] == []
        events = [event_object(position, event) for position, event in await store.events()]
    assert len({event["subject"] for event in events}) == len(events), "Expected each order to end once."
    return {event["subject"]: event for event in events}


# -- every way ------------------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """A way that an order can take: what is said to it, and how it must end."""

    order: str
    signals: tuple[Signal, ...] = ()
    patience: Patience = {}
    code: str = ""  # of the error; none: it succeeds
    deeds: str = ""  # with money and parcels
    carrier: str = ""


WAYS = {
    "express": Way("A-1", deeds="charge ship", carrier="express"),
    "ordinary": Way("A-4", deeds="charge ship", carrier="standard"),
    "approved": Way("A-2", (APPROVE,), deeds="charge ship", carrier="express"),
    "approved without a word": Way("A-2", (("approve-order", None),), deeds="charge ship", carrier="express"),
    "not approved": Way("A-2", (("approve-order", {"approved": False}),), code="order.refused"),
    "not answered": Way("A-2", patience=AT_ONCE, code="order.unanswered"),
    "no time to wait": Way("A-2", patience={"approval": "soon"}, code="duration.invalid"),
    "another card": Way("A-5", (OTHER_CARD,), deeds="charge ship", carrier="express"),
    "declined": Way("A-3", patience=AT_ONCE, code="payment.declined"),
    "declined twice": Way("A-3", (("approve-payment", {"card": "expired"}),), code="http.402"),
    "the same card again": Way("A-3", (("approve-payment", None),), code="http.402"),
    "an island": Way("B-1", deeds="charge ship", carrier="standard"),
    "nowhere": Way("B-2", code="http.422", deeds="charge refund"),
    "not in stock": Way("B-3", code="http.409"),
    "no price": Way("B-4", code="quorum_unreachable"),
    "nothing ordered": Way("B-6", code="validation.schema"),
    "unknown": Way("Z-9", code="order.unknown"),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_ends_as_it_should(name: str, tmp_path: Path) -> None:
    """Each order ends with its parcel or with its reason, after exactly the payments and parcels that belong to it."""
    way = WAYS[name]
    with Shop() as shop:
        evening = whole_day(tmp_path, shop, lambda day: day.start(way.order, *way.signals, patience=way.patience))
    outcome, event = evening.outcomes[way.order], evening.events.get(way.order)
    done = evening.done(way.order)
    assert {deed: done[deed] for deed in ("charge", "refund", "ship", "withdraw") if deed in done} == dict.fromkeys(
        way.deeds.split(), 1
    )
    if not way.code:
        assert outcome.status == "succeeded", outcome.error
        assert outcome.output["parcel"] == {"tracking": f"{way.carrier}-{way.order}", "carrier": way.carrier}
        assert (event["type"], event["data"]) == ("order.fulfilled", outcome.output["parcel"])
        check_prices(outcome.output)
        return
    assert (outcome.status, outcome.error["code"]) == ("failed", way.code)
    assert done.get("reserve", 0) <= done.get("release", 0)
    if done:
        assert (event["type"], event["data"]["why"]) == ("order.given_up", way.code)


def check_prices(output: dict[str, Any]) -> None:
    """Each line has the better of two quotes, so never the dearest; the sum is what was charged."""
    lines = {line["sku"]: line for line in output["lines"]}
    assert list(lines) == [line["sku"] for line in ORDERS[output["order"]]["lines"]]
    for line in ORDERS[output["order"]]["lines"]:
        quotes = sorted(PRICES[line["sku"]].values())
        assert lines[line["sku"]]["cents"] in [cents * line["quantity"] for cents in quotes[:2]]
        assert PRICES[line["sku"]][lines[line["sku"]]["supplier"]] * line["quantity"] == lines[line["sku"]]["cents"]
    assert output["cents"] == sum(line["cents"] for line in output["lines"])


# -- a bad shop -----------------------------------------------------------------------------------------------------------

ALL: dict[str, tuple[Signal, ...]] = {
    "A-1": (),
    "A-2": (APPROVE,),
    "A-3": (),
    "A-4": (),
    "A-5": (OTHER_CARD,),
    "B-2": (),
    "B-3": (),
}
LEAVE = {"A-1", "A-2", "A-4", "A-5"}


async def begin_all(day: Day) -> None:
    for order, signals in ALL.items():
        await day.start(order, *signals, patience={} if signals else AT_ONCE)


@pytest.mark.parametrize(
    "trouble",
    [Trouble(seed=2, flaky=0.3, slow=0.01), Trouble(seed=3, flaky=0.5), Trouble(down=range(30, 60))],
    ids=["flaky and slow", "very flaky", "down"],
)
def test_a_bad_shop_changes_no_outcome(trouble: Trouble, tmp_path: Path) -> None:
    """However often calls are refused or cut, the same orders leave as in a good shop; repeats are asked, and done once."""
    with Shop(trouble) as shop:
        evening = whole_day(tmp_path, shop, begin_all)
    assert {order for order, outcome in evening.outcomes.items() if outcome.status == "succeeded"} == LEAVE
    assert evening.ledger["calls"]["troubled"] >= 15
    asked = {effect["key"]: effect["asked"] for effect in evening.ledger["effects"]}
    assert max(asked.values()) > 1


def test_a_supplier_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    """Two quotes are enough: the third supplier keeps silent, and its request is withdrawn."""
    with Shop(Trouble(silent=frozenset({"north"}))) as shop:
        evening = whole_day(tmp_path, shop, lambda day: day.start("A-4"))
    output = evening.outcomes["A-4"].output
    assert [line["cents"] for line in output["lines"]] == [PRICES["lamp"]["south"], PRICES["rug"]["south"]]


def test_two_suppliers_that_never_answer_are_waited_for_until_the_deadline(tmp_path: Path) -> None:
    """One quote is too few; when the patience is over the order fails before anything was done for it."""
    with Shop(Trouble(silent=frozenset({"north", "west"}))) as shop:
        evening = whole_day(tmp_path, shop, lambda day: day.start("A-4", patience={"prices": "50ms"}))
    assert evening.outcomes["A-4"].error["code"] == "timeout.deadline"
    assert evening.ledger["effects"] == []


@pytest.mark.parametrize("decision", ["retry", "complete"])
def test_a_refund_that_is_refused_waits_for_a_person(decision: str, tmp_path: Path) -> None:
    """The order stays open while its money cannot be given back; tried again, or given back by hand, it is undone."""
    with Shop(Trouble(stuck=frozenset({"refund"}))) as shop:

        async def begin(day: Day) -> None:
            execution = await day.start("B-2")
            path = await reached(day, "B-2", "parked")
            assert path.endswith(".refund")
            shop.mend("refund")
            if decision == "complete":
                assert shop.answer("POST", "/refunds", b'{"order": "B-2"}', "Ada did it") is not None
            await day.engine.executions.operate(execution, decision, path=path, by="Ada")

        evening = whole_day(tmp_path, shop, begin)
    assert evening.outcomes["B-2"].error["code"] == "http.422"
    assert evening.done("B-2") == {"reserve": 2, "charge": 1, "refund": 1, "release": 2}


def test_two_payments_of_a_customer_are_never_made_at_a_time(tmp_path: Path) -> None:
    """While one order of Ada is being paid, her other one waits for its turn."""
    waited: list[str] = []

    async def begin(day: Day) -> None:
        loop = asyncio.get_running_loop()

        def watch(deed: str, order: str, count: int) -> None:
            if (deed, count) == ("charge", 1):
                path = reached(day, "B-5" if order == "A-1" else "A-1", "waiting", "lock")
                waited.append(asyncio.run_coroutine_threadsafe(path, loop).result(SECONDS_MAX))

        day.shop.watch = watch
        await day.start("A-1")
        await day.start("B-5")

    with Shop() as shop:
        evening = whole_day(tmp_path, shop, begin)
    assert [path.rpartition(".")[2] for path in waited] == ["pay"]
    assert {outcome.status for outcome in evening.outcomes.values()} == {"succeeded"}


async def reached(day: Day, order: str, wanted: str, wait: str = "") -> str:
    """The path of a node of this order that is in this state, and waits for this, once there is one."""
    while True:
        for frame in frames_of(day, order):
            for instance in frame.instances.values():
                if (STATE_NAMES[instance.state], instance.wait) == (wanted, wait):
                    return instance_path(frame.path, instance.node, instance.visit)
        await asyncio.sleep(0)  # let the engine go on


def frames_of(day: Day, order: str) -> list[Frame]:
    if order not in day.executions:
        return []
    state = day.engine.home.state(day.executions[order])
    assert state is not None, "Expected to find a node, but the execution has ended."
    return list(state.frames.values())


def test_people_are_told_that_we_wait_for_them(tmp_path: Path) -> None:
    """Who is named under `tell` hears what is wanted, and how to give it; an address that is none costs an order nothing."""
    with Shop() as shop:
        tell = shop.url.replace("http:", "json:") + "/messages"

        async def begin(day: Day) -> None:
            await day.start("A-2", APPROVE, tell=tell)
            await day.start("A-5", OTHER_CARD, tell=tell)
            await day.start("A-3", patience=AT_ONCE, tell="pigeon://home")

        evening = whole_day(tmp_path, shop, begin)
    messages = {message["title"]: message["message"].split() for message in evening.ledger["messages"]}
    assert messages["Approve order A-2?"][3:] == ["approve-order", "--key", "A-2"]
    assert messages["Another card for order A-5?"][3:] == ["approve-payment", "--key", "A-5"]
    assert evening.outcomes["A-3"].error["code"] == "payment.declined"


# -- cancelled, and killed ------------------------------------------------------------------------------------------------

MOMENTS = [("reserve", 1), ("charge", 1), ("ship", 1), ("look", 2)]


@pytest.mark.parametrize("deed, count", MOMENTS)
def test_a_cancelled_order_is_undone(deed: str, count: int, tmp_path: Path) -> None:
    """Cancelled when the shop has done something and not yet said so: parcel, money and goods come back, and it says why."""

    async def begin(day: Day) -> None:
        loop = asyncio.get_running_loop()
        execution = await day.start("A-4")

        def watch(done: str, _order: str, number: int) -> None:
            if (done, number) == (deed, count):
                cancel = day.engine.executions.operate(execution, "cancel", reason="no longer wanted")
                asyncio.run_coroutine_threadsafe(cancel, loop).result(SECONDS_MAX)

        day.shop.watch = watch

    with Shop() as shop:
        evening = whole_day(tmp_path, shop, begin)
    assert evening.outcomes["A-4"].status == "cancelled"
    assert (evening.events["A-4"]["type"], evening.events["A-4"]["data"]["why"]) == ("order.given_up", "withdrawn")
    assert evening.ledger["stock"]["lamp"]["left"] == evening.ledger["stock"]["lamp"]["start"]


class Killing:
    """Kills the process that runs, whenever the shop has done one of these deeds and not yet said so."""

    def __init__(self, *moments: tuple[str, int]) -> None:
        self.left = list(moments)
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, deed: str, _order: str, count: int) -> None:
        if (deed, count) in self.left and self.process is not None:
            self.left.remove((deed, count))
            self.process.kill()
            self.process.wait()

    def run(self, perdure: Perdure, *arguments: str | Path) -> Finished:
        """Run a command; as often as it is killed, resume what it was doing. The last one ends by itself."""
        while True:
            moments = len(self.left)
            self.process = perdure.start(*arguments)
            stdout, stderr = self.process.communicate(timeout=SECONDS_MAX)
            if len(self.left) == moments:
                return Finished(self.process.returncode, stdout, stderr)
            assert self.process.returncode == -9, stderr
            arguments = ("resume",)


async def say(perdure: Perdure, name: str, payload: Any, *, order: str) -> None:
    """Send a signal to the only execution, which nobody runs."""
    async with open_client(Settings(store=str(perdure.store))) as (store, executions):
        (row,) = await store.rows()
        await executions.signal(row.execution, name, payload, key=order)


def check_killed(perdure: Perdure, shop: Shop) -> dict[str, Any]:
    """The ledger adds up, everything in the store is sound and has ended; the events by order."""
    ledger = shop.ledger()
    assert faults(ledger) == []
    assert max(effect["asked"] for effect in ledger["effects"]) > 1, "Expected a killed request to be made again."
    return asyncio.run(evening_of(Settings(store=str(perdure.store))))


def test_an_order_survives_kill_9_at_every_effect(perdure: Perdure) -> None:
    """Killed at a reservation, the payment, the booking and a look at the parcel: the order leaves, each effect done once."""
    killing = Killing(("reserve", 1), ("charge", 1), ("ship", 1), ("look", 2))
    with Shop(watch=killing) as shop:
        ended = killing.run(perdure, "run", ORDER, "--input", json.dumps(given(shop, "A-4")))
        assert (ended.code, killing.left) == (0, []), ended.stderr
        assert check_killed(perdure, shop)["A-4"]["type"] == "order.fulfilled"
    verified = perdure("verify", "--deep")
    assert (verified.code, verified.last["findings"]) == (0, 0), verified.stdout


def test_undoing_an_order_survives_kill_9(perdure: Perdure) -> None:
    """Paid, but nobody delivers: killed at the refund and at a release, all is undone once."""
    killing = Killing(("refund", 1), ("release", 1))
    with Shop(watch=killing) as shop:
        ended = killing.run(perdure, "run", ORDER, "--input", json.dumps(given(shop, "B-2")))
        assert (ended.code, killing.left) == (1, []), ended.stderr
        assert check_killed(perdure, shop)["B-2"]["data"]["why"] == "http.422"


def test_an_order_waits_for_people_without_a_process(perdure: Perdure) -> None:
    """Another card is named when no process runs; the next finds the signal, is killed at the payment, and no harm is done."""
    killing = Killing(("charge", 2))
    with Shop(watch=killing) as shop:
        left = perdure("run", ORDER, "--no-wait", "--input", json.dumps(given(shop, "A-5")))
        assert (left.code, left.last["status"]) == (4, "waiting"), left.stderr
        asyncio.run(say(perdure, *OTHER_CARD, order="A-5"))
        ended = killing.run(perdure, "resume")
        assert (ended.code, killing.left) == (0, []), ended.stderr
        assert check_killed(perdure, shop)["A-5"]["type"] == "order.fulfilled"


# -- the example itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"order": "A-1"},
        {"shop": "http://127.0.0.1", "order": 1},
        {"shop": "http://127.0.0.1", "order": "../ledger"},
        {"shop": "http://127.0.0.1", "order": "A-1", "patience": {"parcel": "1h"}},
        {"shop": "http://127.0.0.1", "order": "A-1", "haste": True},
    ],
)
def test_input_that_does_not_fit_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    """Wrong input is refused before anything is started."""

    async def run() -> None:
        async with open_engine(Settings(store=str(tmp_path / "perdure.db"))) as engine:
            with pytest.raises(InputRefused):
                await engine.executions.start(read_file(ORDER), wrong)
            assert await engine.store.rows() == []

    asyncio.run(run())


@pytest.mark.parametrize("file", sorted(ORDER.parent.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_definitions_pass_the_checker(file: Path) -> None:
    """The order and both ways to ship have no faults, and no warnings."""
    assert not read_file(file).checked.faults


def test_what_the_guide_shows_stands_in_the_example() -> None:
    """Every piece of a definition on the page about orders is a piece of the example, line by line."""
    pieces = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    whole = "\n".join(map(without_indent, sorted(ORDER.parent.glob("*.yaml"))))
    assert len(pieces) >= 8
    assert [piece for piece in pieces if "\n".join(line.strip() for line in piece.splitlines()) not in whole] == []


def without_indent(path: Path) -> str:
    return "\n".join(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
