"""The books of the shop: orders, stock, money, parcels, and a ledger of all that was done; no network here, and no trouble."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

COLLECTED_AT_LOOK = 3  # a parcel of the standard carrier is collected by the third time somebody looks
DECLINED = "expired"  # the one card that is declined

# -- what there is --------------------------------------------------------------------------------------------------------

STOCK = {"lamp": 40, "chair": 40, "desk": 20, "rug": 20, "globe": 1}
PRICES = {  # in cents, by supplier
    "lamp": {"north": 3_990, "south": 3_790, "west": 4_190},
    "chair": {"north": 8_900, "south": 9_200, "west": 8_700},
    "desk": {"north": 41_900, "south": 43_900, "west": 39_900},
    "rug": {"north": 12_500, "south": 11_900, "west": 12_900},
    "globe": {"north": 5_500, "south": 5_900, "west": 5_700},
    "moon": {"north": 99_900},  # only one supplier has it
}


def _order(
    order: str, name: str, tier: str, lines: dict[str, int], *, card: str = "good", country: str = "DE"
) -> dict[str, Any]:
    customer = {"id": name.lower(), "name": name, "tier": tier, "card": card, "country": country}
    return {"id": order, "customer": customer, "lines": [{"sku": sku, "quantity": many} for sku, many in lines.items()]}


ORDERS = {
    order["id"]: order
    for order in (
        _order("A-1", "Ada", "gold", {"lamp": 2, "chair": 1}),  # a good customer: express
        _order("A-2", "Bela", "basic", {"desk": 6, "lamp": 6, "chair": 6}),  # large: somebody must approve it
        _order("A-3", "Cem", "basic", {"chair": 2, "rug": 1}, card=DECLINED),  # cannot be paid
        _order("A-4", "Dora", "basic", {"lamp": 1, "rug": 1}),  # an ordinary one
        _order("A-5", "Emil", "gold", {"rug": 2, "lamp": 3}, card=DECLINED),  # cannot be paid at first
        _order("B-1", "Fay", "gold", {"lamp": 1}, country="FO"),  # an island, where express does not go
        _order("B-2", "Gus", "basic", {"lamp": 2, "chair": 2}, country="AQ"),  # where nobody delivers
        _order("B-3", "Hal", "basic", {"lamp": 1, "globe": 2}),  # more than there are
        _order("B-4", "Ida", "basic", {"lamp": 1, "moon": 1}),  # nobody can price the moon
        _order("B-5", "Ada", "gold", {"chair": 1}),  # the customer of A-1 again
        _order("B-6", "Kim", "basic", {}),  # nothing at all
    )
}
EXPRESS_REACHES, STANDARD_REACHES = {"DE"}, {"DE", "FO"}

# -- what is done ---------------------------------------------------------------------------------------------------------


class Refusal(Exception):
    """The shop says no, for a reason that asking again does not change."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass
class Effect:
    """All that was asked under one idempotency key, which is done once: `done` is 0 where it was refused."""

    key: str
    deed: str
    order: str
    contents: list[str]
    asked: int = 0
    done: int = 0
    status: int = 0
    answer: Any = None
    what: dict[str, Any] = field(default_factory=dict)


@dataclass
class Call:
    """One request: what is to be done, with what, under which key."""

    deed: str
    order: str
    given: dict[str, Any]
    key: str
    content: str


class Books:
    """Orders, stock, money and parcels, and the ledger of what was done; no network, and no trouble."""

    def __init__(self) -> None:
        self.left = dict(STOCK)
        self.effects: dict[str, Effect] = {}
        self.messages: list[dict[str, Any]] = []
        self._held: dict[tuple[str, str], int] = {}
        self._charged: Counter[str] = Counter()
        self._shipped: dict[str, dict[str, Any]] = {}
        self._looks: Counter[str] = Counter()
        self._over: set[tuple[str, ...]] = set()  # what was taken back stays so, also when the request for it comes late

    def ask(self, call: Call) -> Effect:
        """Enter a request for an effect into the ledger; it is not done yet."""
        effect = self.effects.setdefault(call.key, Effect(call.key, call.deed, call.order, [call.content]))
        effect.asked += 1
        if call.content not in effect.contents:
            effect.contents.append(call.content)
        return effect

    def carry_out(self, call: Call) -> tuple[int, Any]:
        """Status and body of the answer. What has a key is done once, and answered alike each time."""
        effect = self.effects.get(call.key)
        try:
            if effect is None:
                return 200, getattr(self, f"_{call.deed}")(**call.given)
            if effect.contents[0] != call.content:
                return 422, {"why": "this key was used for something else"}
            if not effect.status:
                effect.what = getattr(self, f"_{call.deed}")(**call.given)
                effect.done += 1
                effect.status, effect.answer = 200, effect.what
            return effect.status, effect.answer
        except Refusal as refusal:
            answer = {"why": refusal.why}
            if effect is not None:
                effect.status, effect.answer = refusal.status, answer
            return refusal.status, answer

    def ledger(self) -> dict[str, Any]:
        """What was done, and what is left."""
        shown = ("key", "deed", "order", "asked", "done", "contents", "status", "what")
        effects = [{name: getattr(effect, name) for name in shown} for effect in self.effects.values()]
        stock = {sku: {"start": start, "left": self.left[sku]} for sku, start in STOCK.items()}
        return {"effects": effects, "stock": stock, "messages": self.messages}

    # Each deed gives its answer, or raises Refusal and has changed nothing.

    def _fetch(self, order: str) -> Any:
        if order not in ORDERS:
            raise Refusal(404, f"there is no order {order}")
        return ORDERS[order]

    def _quote(self, supplier: str, sku: str) -> Any:
        if supplier not in PRICES.get(sku, {}):
            raise Refusal(404, f"{supplier} does not sell {sku}")
        return {"supplier": supplier, "sku": sku, "cents": PRICES[sku][supplier]}

    def _reserve(self, order: str, sku: str, quantity: int) -> Any:
        if ("reserve", order, sku) in self._over:
            raise Refusal(410, f"the reservation of {sku} for {order} was released before")
        if self.left.get(sku, 0) < quantity:
            raise Refusal(409, f"only {self.left.get(sku, 0)} of {sku} are left")
        self.left[sku] -= quantity
        self._held[order, sku] = self._held.get((order, sku), 0) + quantity
        return {"sku": sku, "quantity": quantity}

    def _release(self, order: str, sku: str) -> Any:
        self._over.add(("reserve", order, sku))
        quantity = 0 if order in self._shipped else self._held.pop((order, sku), 0)
        if quantity:
            self.left[sku] += quantity
        return {"sku": sku, "quantity": quantity}

    def _charge(self, order: str, cents: int, card: str) -> Any:
        if ("charge", order) in self._over:
            raise Refusal(410, f"{order} was refunded before")
        if order not in ORDERS:
            raise Refusal(404, f"there is no order {order}")
        if card == DECLINED:
            raise Refusal(402, "the card is declined")
        self._charged[order] += cents
        return {"cents": cents}

    def _refund(self, order: str) -> Any:
        self._over.add(("charge", order))
        return {"cents": self._charged.pop(order, 0)}

    def _ship(self, order: str, carrier: str) -> Any:
        if ("ship", order) in self._over:
            raise Refusal(410, f"the parcel of {order} was withdrawn before")
        if not self._charged[order]:
            raise Refusal(412, f"{order} is not paid")
        if not all((order, line["sku"]) in self._held for line in ORDERS[order]["lines"]):
            raise Refusal(412, f"the goods of {order} are not reserved")
        country = ORDERS[order]["customer"]["country"]
        if carrier == "express" and country not in EXPRESS_REACHES:
            raise Refusal(409, f"express does not go to {country}")
        if country not in STANDARD_REACHES:
            raise Refusal(422, f"nobody delivers to {country}")
        self._shipped[order] = {"tracking": f"{carrier}-{order}", "carrier": carrier}
        return self._shipped[order]

    def _withdraw(self, order: str) -> Any:
        self._over.add(("ship", order))
        return self._shipped.pop(order, {"tracking": None, "carrier": None})

    def _look(self, order: str) -> Any:
        if order not in self._shipped:
            raise Refusal(404, f"there is no parcel of {order}")
        self._looks[order] += 1
        return {"state": "collected" if self._looks[order] >= COLLECTED_AT_LOOK else "waiting"}

    def _tell(self, title: str, message: str) -> Any:
        self.messages.append({"title": title, "message": message})
        return {}


def faults(ledger: dict[str, Any]) -> list[str]:
    """What does not add up in a ledger, once all orders have ended; a sentence each.

    Every effect happened once for its key and once for its order; what is charged was shipped or refunded; what is shipped was
    charged; goods that did not leave are in stock again.
    """
    found = []
    done: Counter[tuple[str, ...]] = Counter()
    paid: Counter[str] = Counter()
    parcels: Counter[str] = Counter()
    held: Counter[tuple[str, str]] = Counter()
    for effect in ledger["effects"]:
        deed, order, what, named = effect["deed"], effect["order"], effect["what"], effect["key"]
        if effect["done"] > 1:
            found.append(f"{named}: was done {effect['done']} times")
        if len(effect["contents"]) > 1:
            found.append(f"{named}: was asked for with {len(effect['contents'])} different contents")
        if not effect["done"]:
            continue
        if deed in ("reserve", "charge", "ship"):
            done[deed, order, what.get("sku", "")] += 1
        sign = -1 if deed in ("release", "refund", "withdraw") else 1
        paid[order] += sign * what.get("cents", 0)
        parcels[order] += sign * ("carrier" in what and what["carrier"] is not None)
        if "quantity" in what:
            held[order, what["sku"]] += sign * what["quantity"]
    found += [
        f"{order}: {deed} {sku}".rstrip() + f" was done {count} times"
        for (deed, order, sku), count in done.items()
        if count > 1
    ]
    goods = Counter(order for (order, _), many in held.items() if many > 0)
    for order in paid:
        if paid[order] > 0 and not parcels[order]:
            found.append(f"{order}: {paid[order]} cents are charged, but nothing was shipped")
        if parcels[order] and paid[order] <= 0:
            found.append(f"{order}: shipped, but not charged")
        if goods[order] and not parcels[order]:
            found.append(f"{order}: goods are still reserved")
        if parcels[order] and not goods[order]:
            found.append(f"{order}: shipped, but not reserved")
    for sku, stock in ledger["stock"].items():
        gone = sum(many for (_, held_sku), many in held.items() if held_sku == sku)
        if stock["start"] - stock["left"] != gone:
            found.append(f"{sku}: {stock['start'] - stock['left']} left the stock, but orders have {gone}")
    return found


def told(ledger: dict[str, Any]) -> str:
    """What a ledger says, in two lines."""
    effects, calls = ledger["effects"], ledger["calls"]
    asked, done = sum(effect["asked"] for effect in effects), sum(effect["done"] for effect in effects)
    wrong = faults(ledger)
    first = (
        f"{calls['all']} calls, {calls['troubled']} of them came to grief; "
        f"{asked} requests for {len(effects)} effects, of which {done} were done."
    )
    return f"{first}\nThe ledger " + ("adds up." if not wrong else "does not add up:\n  " + "\n  ".join(wrong))
