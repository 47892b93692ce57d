"""An independent receiver: an HTTP server in a process of its own, which writes down each request before it answers it.

It is slow now and then, refuses now and then (503), and now and then takes a request and closes the connection without a word.
What becomes of a request is drawn from the seed, its key and how often that key came before, never from the time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from expected import AT_MOST_ONCE, value

TROUBLES_MAX = 3
"""No key is refused or cut more often than this, so that the retries of a workflow are enough, however often it is asked."""
ANSWERS = {200: "OK", 409: "Conflict", 503: "Service Unavailable"}


Fate = Literal["done", "refused", "cut", "never"]
"""What becomes of a request: carried out, refused for now, taken without an answer, refused for good."""


@dataclass(frozen=True)
class Receipt:
    """A request as it arrived: its key, whose and what it is, what became of it, and when by the receiver's own clock."""

    key: str
    tag: str
    deed: str
    at: int
    fate: Fate
    seconds: float = 0.0


def listening(port: int = 0) -> socket.socket:
    """A socket on this or a free port of this machine, which a forked receiver takes along."""
    server = socket.socket()
    server.bind(("127.0.0.1", port))
    server.listen(1_000)
    return server


def address(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def receipts(ledger: Path) -> list[Receipt]:
    """All that has arrived."""
    return [Receipt(**json.loads(line)) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    """What is answered to a request that is carried out."""
    return {"value": value(body["n"]), "filling": "x" * body.get("size", 0)}


def receive(servers: Sequence[socket.socket], ledger: Path, seed: int) -> int:
    """Receive on each of these until the process ends."""
    asyncio.run(_Receiver(ledger, seed).serve(servers))
    return 0


class Fates:
    """What becomes of requests: drawn from a seed, from their key and from how often that key came before."""

    def __init__(self, seed: int, before: Iterable[Receipt] = ()) -> None:
        self._seed = seed
        self._counts: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        for receipt in before:
            self._counts[receipt.key] += 1
            self._troubles[receipt.key] += receipt.fate in ("refused", "cut")

    def draw(self, key: str, deed: str) -> tuple[Fate, float]:
        """What becomes of the next request with this key, and how many seconds that takes."""
        self._counts[key] += 1
        drawn = hashlib.sha256(f"{self._seed} {key} {self._counts[key]}".encode()).digest()
        seconds = 0.3 if drawn[0] < 8 else drawn[1] / 255 * 0.03
        if deed == "beg":
            return "never", seconds
        if deed in AT_MOST_ONCE or self._troubles[key] >= TROUBLES_MAX or drawn[2] >= 46:
            return "done", seconds
        self._troubles[key] += 1
        return ("refused" if drawn[2] < 30 else "cut"), seconds


class _Receiver:
    def __init__(self, ledger: Path, seed: int) -> None:
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._fates = Fates(seed)

    async def serve(self, servers: Sequence[socket.socket]) -> None:
        listeners = [await asyncio.start_server(self._converse, sock=server) for server in servers]
        await asyncio.gather(*(listener.serve_forever() for listener in listeners))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the worker behind it was killed
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays open. Nothing is awaited between reading it and writing it down."""
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        key = fields["idempotency-key"]
        fate, seconds = self._fates.draw(key, body["deed"])
        receipt = Receipt(key, body["tag"], body["deed"], body["at"], fate, time.monotonic())
        os.write(self._ledger, json.dumps(asdict(receipt)).encode() + b"\n")
        await asyncio.sleep(seconds)
        if fate == "cut":
            return False
        status = {"done": 200, "refused": 503, "never": 409}[fate]
        answer = answer_to(body)
        text = json.dumps(answer if status == 200 else {"why": fate}).encode()
        lines = (
            f"HTTP/1.1 {status} {ANSWERS[status]}",
            "content-type: application/json",
            f"content-length: {len(text)}",
            "",
            "",
        )
        writer.write("\r\n".join(lines).encode() + text)
        await writer.drain()
        return fields.get("connection") != "close"
