"""A day at the shop: five orders at the same time, each run by a process of its own, while the shop is slow, flaky and down.

    python examples/orders/day.py [--store PATH]

One order is large, and somebody approves it; two cards are declined, and for one of them there is another; one process is
killed (kill -9) as soon as the shop has taken the money, before it could hear of that, and another one goes on. In the end a
table says what became of the orders, and the shop's own ledger whether it adds up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from books import faults, told
from shop import Shop, Trouble

HERE = Path(__file__).resolve().parent
TROUBLE = Trouble(seed=7, slow=0.03, flaky=0.15, down=range(40, 60))
LINE_BYTES_MAX = 1 << 20
KILLED = -signal.SIGKILL


@dataclass
class Plan:
    """An order of this day: what is special about it, how it must end, and what people do when it waits for them."""

    order: str
    story: str
    ends: str = "succeeded"
    people: dict[str, Any] = field(default_factory=dict)  # the payload by the name of the signal
    patience: dict[str, str] = field(default_factory=dict)


PLANS = (
    Plan("A-1", "a good customer"),
    Plan("A-2", "a large order, which Grace approves", people={"approve-order": {"by": "Grace"}}),
    Plan("A-3", "the card is declined, and there is no other", ends="failed", patience={"card": "1s"}),
    Plan("A-4", "its process is killed when it has paid"),
    Plan("A-5", "the card is declined, but there is another", people={"approve-payment": {"card": "good"}}),
)


class Day:
    """The processes that run the orders of a day, all on one store."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.killed = False

    async def fulfil(self, plan: Plan, shop: str) -> dict[str, Any]:
        """Run an order to its end, doing what people do, and resuming it when its process was killed; how it ended."""
        given = {"shop": shop, "order": plan.order, **({"patience": plan.patience} if plan.patience else {})}
        process = await self.start("run", HERE / "order.yaml", "--input", json.dumps(given))
        while True:
            self.running[plan.order] = process
            said = await self.follow(plan, process)
            if await process.wait() != KILLED:
                break
            print(f"\nThe process of {plan.order} was killed. Another one goes on:")
            process = await self.start("resume", said["execution"])
        if said.get("status") != plan.ends:
            assert process.stderr is not None
            print(f"Expected {plan.order} to end {plan.ends}, but: {said}\n{(await process.stderr.read()).decode()}")
        return said

    async def follow(self, plan: Plan, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """Hear what a process says, and give each signal that its order waits for; the last thing it said."""
        said: dict[str, Any] = {}
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if said.get("fact") == "waiting" and said.get("name") in plan.people:
                print(f"\n{plan.order} waits for people, who say:")
                name, payload = said["name"], json.dumps(plan.people[said["name"]])
                words = ("signal", said["execution"], name, "--key", plan.order, "--payload", payload)
                await (await self.start(*words, json=False)).communicate()
        return said

    async def start(self, *arguments: str | Path, json: bool = True) -> asyncio.subprocess.Process:
        """Start the command as one would type it here, showing what is typed."""
        words = [str(argument) for argument in (*arguments, "--store", self.store)]
        print(f"$ perdure {' '.join(shlex.quote(shown(word)) for word in words)}", flush=True)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "perdure", *words, *(["--json"] if json else []),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX,
        )  # fmt: skip

    def watch(self, deed: str, order: str, _count: int) -> None:
        """The shop has done something and not yet said so: when it is the payment of A-4, kill who waits for the answer."""
        if (deed, order) == ("charge", "A-4") and not self.killed:
            self.killed = True
            os.kill(self.running[order].pid, signal.SIGKILL)


async def whole_day(store: Path) -> int:
    """Open the shop, fulfil all orders, tell what happened; 0 when everything ended as it should."""
    day = Day(store)
    with Shop(TROUBLE, watch=day.watch) as shop:
        ends = await asyncio.gather(*(day.fulfil(plan, shop.url) for plan in PLANS))
        ledger = shop.ledger()
    print(f"\n{table(ends, ledger)}\n\nThe shop says: {told(ledger)}", flush=True)
    as_planned = [end.get("status") for end in ends] == [plan.ends for plan in PLANS]
    return 0 if as_planned and not faults(ledger) else 1


def table(ends: list[dict[str, Any]], ledger: dict[str, Any]) -> str:
    """A line for each order: its story, its end, and what the shop did for it."""
    rows = [("order", "what is special", "how it ended", "charged", "refunded", "parcel")]
    for plan, end in zip(PLANS, ends, strict=True):
        done = [effect for effect in ledger["effects"] if effect["order"] == plan.order and effect["done"]]
        cents = {deed: sum(each["what"]["cents"] for each in done if each["deed"] == deed) for deed in ("charge", "refund")}
        parcel = "".join(each["what"]["tracking"] for each in done if each["deed"] == "ship")
        why = (end.get("error") or {}).get("title", "nobody knows")
        ended = "fulfilled" if end.get("status") == "succeeded" else f"given up: {why}"
        rows.append((plan.order, plan.story, ended, amount(cents["charge"]), amount(cents["refund"]), parcel or "–"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def amount(cents: int) -> str:
    return f"{cents / 100:,.2f}" if cents else "–"


def shown(word: str) -> str:
    """A path as one would type it here."""
    return word.replace(f"{Path.cwd()}/", "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A day at the shop of the order example.")
    parser.add_argument("--store", type=Path, default=Path("perdure.db"), help="Where the executions are kept.")
    sys.exit(asyncio.run(whole_day(parser.parse_args().store)))
