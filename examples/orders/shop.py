"""A small shop behind HTTP, for the order example: slow, flaky, sometimes down, and with a ledger of all that it did.

    python examples/orders/shop.py            # opens it, says its address, and on Ctrl-C what its ledger says

It sells from stock, asks three suppliers for prices, charges cards and hands parcels to two carriers. Whoever wants something
done sends an `Idempotency-Key`: the shop does it once for each key, counts how often it was asked, and answers alike each time.

Trouble is drawn from a seed, from what is asked and from how often it was asked before, never from the time: a day is as bad on
a slow machine as on a quick one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from books import ORDERS, Books, Call, told

SILENCE_SECONDS = 600  # how long a supplier that never answers keeps its caller waiting

# -- trouble --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """How bad the day is. `slow`: seconds that a call takes, more or less. `flaky`: the share of calls that come to grief.

    `down`: those calls, counted from the opening, that find the shop closed. `silent`: suppliers that never answer.
    `stuck`: deeds that are refused for good, until somebody calls `Shop.mend`.
    """

    seed: int = 1
    slow: float = 0.0
    flaky: float = 0.0
    down: range = range(0)
    silent: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()

    def fate(self, call: str, count: int) -> str:
        """What becomes of a call that is made for this time: it goes well, is refused, or cut before or after its deed."""
        drawn = self.chance(call, count)
        if drawn >= self.flaky:
            return "well"
        return ("refused", "cut before", "cut after")[int(drawn / self.flaky * 3)]

    def chance(self, call: str, count: int) -> float:
        """A number in [0, 1), the same for the same seed, call and count."""
        digest = hashlib.sha256(f"{self.seed} {call} {count}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / (1 << 48)


# -- the shop as others see it --------------------------------------------------------------------------------------------

ROUTES = (  # method, path, deed, and what the body must hold; the groups of the path are arguments of the deed as well
    ("GET", r"/orders/(?P<order>[\w-]+)", "fetch", ()),
    ("GET", r"/suppliers/(?P<supplier>\w+)/quotes/(?P<sku>\w+)", "quote", ()),
    ("POST", r"/reservations", "reserve", ("order", "sku", "quantity")),
    ("DELETE", r"/reservations/(?P<order>[\w-]+)/(?P<sku>\w+)", "release", ()),
    ("POST", r"/charges", "charge", ("order", "cents", "card")),
    ("POST", r"/refunds", "refund", ("order",)),
    ("POST", r"/carriers/(?P<carrier>express|standard)/shipments", "ship", ("order",)),
    ("DELETE", r"/shipments/(?P<order>[\w-]+)", "withdraw", ()),
    ("GET", r"/shipments/(?P<order>[\w-]+)", "look", ()),
    ("POST", r"/messages", "tell", ("title", "message")),
)
FIELDS = {"order": str, "sku": str, "quantity": int, "cents": int, "card": str, "title": str, "message": str}
EFFECTS = frozenset(("reserve", "release", "charge", "refund", "ship", "withdraw"))  # they need an idempotency key

Watch = Callable[[str, str, int], object]
"""Is told of each deed, for which order and for which time it is done, when it is done and not yet answered."""


class Shop:
    """The shop, open on a free port of this machine while the context lasts."""

    def __init__(self, trouble: Trouble = Trouble(), *, port: int = 0, watch: Watch | None = None) -> None:
        self.trouble = trouble
        self.watch = watch
        self.books = Books()
        self.calls = self.troubled = 0
        self._counts: Counter[str] = Counter()
        self._stuck = set(trouble.stuck)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ledger(self) -> dict[str, Any]:
        """What the shop did, as `GET /ledger` gives it."""
        with self._lock:
            calls = {"all": self.calls, "troubled": self.troubled}
            copied: dict[str, Any] = json.loads(json.dumps({**self.books.ledger(), "calls": calls}))
        return copied

    def mend(self, deed: str) -> None:
        """From now on this deed is no longer refused."""
        self._stuck.discard(deed)

    def answer(self, method: str, path: str, body: bytes, key: str) -> tuple[int, Any] | None:
        """Status and body of the answer to a request, None where it is left without one."""
        if (method, path) == ("GET", "/ledger"):
            return 200, self.ledger()
        call = read_call(method, path, body, key)
        if isinstance(call, str):
            return 400, {"why": call}
        fate, seconds = self._arrived(call, path)
        if seconds:
            self._closing.wait(seconds)
        if fate == "refused":
            return 503, {"why": "come back later"}
        if fate == "cut before":
            return None
        if call.deed in self._stuck:
            return 423, {"why": f"no {call.deed} today"}
        with self._lock:
            answer = self.books.carry_out(call)
            self._counts[call.deed] += 1
            count = self._counts[call.deed]
        if self.watch is not None:
            self.watch(call.deed, call.order, count)
        return None if fate == "cut after" else answer

    def _arrived(self, call: Call, path: str) -> tuple[str, float]:
        """Count a call; what becomes of it, and how many seconds it takes."""
        with self._lock:
            number, self.calls = self.calls, self.calls + 1
            if call.deed in EFFECTS:
                self.books.ask(call)
            content = f"{call.deed} {path} {call.content}"
            self._counts[content] += 1
            fate = self.trouble.fate(content, self._counts[content])
            if number in self.trouble.down:
                fate = "refused" if number % 2 else "cut before"
            self.troubled += fate != "well"
        seconds = self.trouble.slow * (0.5 + self.trouble.chance(f"slow {content}", self._counts[content]))
        supplier = call.given.get("supplier")
        return fate, SILENCE_SECONDS if supplier in self.trouble.silent else seconds


def read_call(method: str, path: str, body: bytes, key: str) -> Call | str:
    """What a request asks for, or what is wrong with it."""
    for wanted, pattern, deed, fields in ROUTES:
        found = re.fullmatch(pattern, path)
        if wanted != method or found is None:
            continue
        try:
            sent = json.loads(body or b"{}")
        except ValueError:
            return "Expected JSON."
        given = {name: sent.get(name) for name in fields} if isinstance(sent, dict) else {}
        wrong = [name for name in fields if type(given.get(name)) is not FIELDS[name] or not given[name]]
        if wrong:
            return f"Expected a good value for {' and '.join(wrong)}."
        if deed in EFFECTS and not key:
            return "Expected an Idempotency-Key."
        given |= found.groupdict()
        key = key if deed in EFFECTS else ""
        return Call(deed, given.get("order", ""), given, key, json.dumps([deed, given], sort_keys=True))
    return f"There is nothing at {method} {path}."


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], shop: Shop) -> None:
        self.shop = shop
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that has gone is no fault of the shop."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.shop.answer(self.command, self.path, body, self.headers.get("Idempotency-Key") or "")
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, given = answer
        content = json.dumps(given).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """The ledger says what was done."""


def main() -> None:
    """Open the shop until Ctrl-C, then say what its ledger says."""
    parser = argparse.ArgumentParser(description="A small shop for the order example.")
    parser.add_argument("--port", type=int, default=8765, help="Where it listens (default: 8765; 0: any free port).")
    parser.add_argument("--seed", type=int, default=1, help="Which troubles there are.")
    parser.add_argument("--slow", type=float, default=0.03, help="Seconds that a call takes.")
    parser.add_argument("--flaky", type=float, default=0.15, help="The share of calls that fail.")
    parser.add_argument("--down", default="0:0", help="Which calls find it closed, such as 40:60.")
    given = parser.parse_args()
    first, _, last = given.down.partition(":")
    trouble = Trouble(given.seed, given.slow, given.flaky, range(int(first), int(last)))
    with Shop(trouble, port=given.port) as shop:
        print(f"The shop is open at {shop.url} for the orders {', '.join(ORDERS)}. Ctrl-C closes it.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\n" + told(shop.ledger()))


if __name__ == "__main__":
    main()
