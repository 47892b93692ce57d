"""The shop of the order example keeps its promises: once for each key, trouble by seed, and a ledger in which faults show."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import httpx
import pytest
from instances import ROOT

sys.path.insert(0, str(ROOT / "examples" / "orders"))  # the shop is part of the example, not of the product

from books import faults
from shop import Shop, Trouble


def ask(shop: Shop, line: str, body: Any = None, *, key: str = "") -> tuple[int, Any]:
    """Send the shop a request; status and body of its answer."""
    method, path = line.split()
    answer = httpx.request(method, shop.url + path, json=body, headers={"Idempotency-Key": key} if key else {}, trust_env=False)
    return answer.status_code, answer.json()


def test_the_shop_does_a_thing_once_for_a_key() -> None:
    """The same key again gets the same answer and does nothing; with another content, or without a key, it is refused."""
    charge = {"order": "A-1", "cents": 100, "card": "good"}
    with Shop() as shop:
        assert ask(shop, "POST /charges", charge, key="k") == (200, {"cents": 100})
        assert ask(shop, "POST /charges", charge, key="k") == (200, {"cents": 100})
        assert ask(shop, "POST /charges", {**charge, "cents": 200}, key="k")[0] == 422
        assert ask(shop, "POST /charges", charge)[0] == 400
        (effect,) = ask(shop, "GET /ledger")[1]["effects"]
    assert (effect["asked"], effect["done"], effect["what"]) == (3, 1, {"cents": 100})


def test_what_was_taken_back_is_not_done_when_the_request_comes_late() -> None:
    """A reservation, a payment and a parcel that were undone before they were asked for are refused, and change nothing."""
    with Shop() as shop:
        for number, undo in enumerate(("DELETE /reservations/A-1/lamp", "DELETE /shipments/A-1")):
            assert ask(shop, undo, key=f"undo {number}")[0] == 200
        assert ask(shop, "POST /refunds", {"order": "A-1"}, key="refund") == (200, {"cents": 0})
        lamp = {"order": "A-1", "sku": "lamp", "quantity": 1}
        assert ask(shop, "POST /reservations", lamp, key="1")[0] == 410
        assert ask(shop, "POST /charges", {"order": "A-1", "cents": 1, "card": "good"}, key="2")[0] == 410
        assert ask(shop, "POST /carriers/express/shipments", {"order": "A-1"}, key="3")[0] == 410
        assert faults(shop.ledger()) == []


@pytest.mark.parametrize(
    "line, body",
    [
        ("GET /", None),
        ("GET /orders/", None),
        ("DELETE /charges", None),
        ("POST /carriers/pigeon/shipments", {"order": "A-1"}),
        ("POST /charges", {"order": "A-1", "cents": 100}),
        ("POST /charges", {"order": "A-1", "cents": "100", "card": "good"}),
        ("POST /reservations", {"order": "A-1", "sku": "lamp", "quantity": 0}),
        ("POST /refunds", ["A-1"]),
    ],
)
def test_the_shop_refuses_what_it_does_not_understand(line: str, body: Any) -> None:
    """What leads nowhere, or lacks something, is a mistake of the caller, and no effect."""
    with Shop() as shop:
        assert ask(shop, line, body, key="k")[0] == 400
        assert shop.ledger()["effects"] == []


def test_trouble_is_the_same_on_every_day_with_the_same_seed() -> None:
    """Which call comes to grief depends on the seed, the call and its count alone; the share is as wanted."""
    calls = [(f"reserve {number}", count) for number in range(200) for count in range(5)]
    fates = [Trouble(seed=1, flaky=0.3).fate(*call) for call in calls]
    assert fates == [Trouble(seed=1, flaky=0.3).fate(*call) for call in calls]
    assert fates != [Trouble(seed=2, flaky=0.3).fate(*call) for call in calls]
    counts = Counter(fates)
    assert set(counts) == {"well", "refused", "cut before", "cut after"}
    assert 0.6 < counts["well"] / len(calls) < 0.8


def an_effect(deed: str, order: str = "A-1", **what: Any) -> dict[str, Any]:
    return {"key": f"{deed} {order}", "deed": deed, "order": order, "asked": 1, "done": 1, "contents": ["x"], "what": what}


RESERVE, CHARGE = an_effect("reserve", sku="lamp", quantity=2), an_effect("charge", cents=100)
SHIP, RELEASE = an_effect("ship", carrier="express"), an_effect("release", sku="lamp", quantity=2)
REFUND = an_effect("refund", cents=100)

SOUND = [[], [RESERVE, CHARGE, SHIP], [RESERVE, RELEASE], [RESERVE, CHARGE, REFUND, RELEASE], [{**CHARGE, "done": 0}]]
UNSOUND = {
    "A-1: 100 cents are charged, but nothing was shipped": [RESERVE, CHARGE, RELEASE],
    "A-1: shipped, but not charged": [RESERVE, CHARGE, SHIP, REFUND],
    "A-1: goods are still reserved": [RESERVE, CHARGE, REFUND],
    "A-1: shipped, but not reserved": [CHARGE, SHIP],
    "reserve A-1: was done 2 times": [{**RESERVE, "done": 2}, RELEASE],
    "charge A-1: was asked for with 2 different contents": [RESERVE, {**CHARGE, "contents": ["x", "y"]}, SHIP],
    "A-1: charge was done 2 times": [RESERVE, CHARGE, {**CHARGE, "key": "again"}, SHIP],
}


def ledger_of(effects: list[dict[str, Any]], *, missing: int = 0) -> dict[str, Any]:
    sign = {"reserve": 1, "release": -1}
    gone = sum(sign.get(effect["deed"], 0) * effect["what"].get("quantity", 0) for effect in effects)
    return {"effects": effects, "stock": {"lamp": {"start": 10, "left": 10 - gone - missing}}}


@pytest.mark.parametrize("effects", SOUND)
def test_a_ledger_that_adds_up_has_no_faults(effects: list[dict[str, Any]]) -> None:
    """Shipped and charged, undone, or never done: all of it is fine."""
    assert faults(ledger_of(effects)) == []


@pytest.mark.parametrize("fault", UNSOUND)
def test_a_ledger_that_does_not_add_up_says_why(fault: str) -> None:
    """Each way in which an order can be half done is found."""
    assert faults(ledger_of(UNSOUND[fault])) == [fault]


def test_stock_that_went_elsewhere_is_noticed() -> None:
    """What left the stock and belongs to no order is a fault."""
    assert faults(ledger_of([RESERVE, RELEASE], missing=1)) == ["lamp: 1 left the stock, but orders have 0"]
