"""Is a worker alive, and is it ready? Two pages for whoever supervises it: `GET /live` and `GET /ready`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from perdure.errors import Refused
from perdure.runtime.pulse import Pulse

LOOPBACK = "127.0.0.1"
SECONDS_MAX = 5.0  # for a question to be asked: whoever dawdles holds nothing up
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def read_place(text: str) -> tuple[str, int]:
    """`PORT` or `HOST:PORT`; without a host only this machine may ask. Raises Refused."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise Refused(f"--health: Expected PORT or HOST:PORT, but got {text!r}.", remedy="Such as 8080.", code="usage")
    return host.strip("[]") or LOOPBACK, int(port)


@asynccontextmanager
async def answering(place: tuple[str, int], pulse: Pulse) -> AsyncIterator[int]:
    """Answer at this host and port while the context lasts; the port, which is a free one for port 0. Raises Refused."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS_MAX):
                request = await reader.readline()
                while (await reader.readline()).strip():
                    pass
                writer.write(_response(request, pulse))
                await writer.drain()
        except (OSError, TimeoutError, ValueError):  # ValueError: a line without an end
            pass
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, *place)
    except OSError as error:
        raise Refused(
            f"--health: Expected {place[0]}:{place[1]} to be free, but one cannot listen there: {error.strerror}.",
            remedy="Choose another port.", code="usage",
        ) from error  # fmt: skip
    async with server:
        yield server.sockets[0].getsockname()[1]


def _response(request: bytes, pulse: Pulse) -> bytes:
    """To `/live` the answer alone tells that the loop turns; `/ready` says whether the worker takes on work."""
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path not in (b"/live", b"/ready"):
        status = 404
    elif method not in (b"GET", b"HEAD"):
        status = 405
    else:
        status = 200 if path == b"/live" or pulse.is_ready() else 503
    body = msgspec.json.encode(pulse.load()) if status in (200, 503) else b"{}"
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)
