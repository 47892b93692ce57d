"""One exchange over HTTP for the node `http`: a request goes out, its answer comes in, trouble becomes a failure with a code.

It stands apart because it brings httpx, which is loaded by the process that sends and not by everyone who reads a workflow.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import email.utils
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from perdure.clock import MICROSECONDS, Clock, SystemClock
from perdure.nodes.work import Failed

if TYPE_CHECKING:
    from perdure.nodes.http import Auth, Encoding

REDIRECTS_MAX = 20
KEPT_BODY_CHARACTERS_MAX = 4_000  # of an error's body: enough to see why, little enough for the journal
RETRYABLE_STATUSES = frozenset({408, 425, 429})  # "later", said with a 4xx
REFUSING_STATUSES = frozenset({501, 503, 505})  # 5xx that say: not done; after others it may have been (rule 53)

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_WRONG_ADDRESS = (httpx.InvalidURL, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, checked: what was given as json, body or form is already bytes here. The timeouts are in seconds."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, Any] | None
    content: bytes | None
    follow_redirects: bool
    connect_timeout: float
    read_timeout: float | None
    bytes_max: int


Transport = Callable[[], httpx.AsyncBaseTransport]
"""What makes the connections. An egress guard wraps the default one, and refuses with `Failed` before it connects."""


def direct_transport() -> httpx.AsyncBaseTransport:
    """Connects to whatever the address names, keeps connections for the next request."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=15.0)
    return httpx.AsyncHTTPTransport(limits=limits)


class Clients:
    """One HTTP client per event loop, made when first needed, so that connections are kept between requests."""

    def __init__(self, transport: Transport = direct_transport) -> None:
        self.transport = transport
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = weakref.WeakKeyDictionary()

    def here(self) -> httpx.AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None or client.is_closed:
            client = httpx.AsyncClient(transport=self.transport(), trust_env=False, max_redirects=REDIRECTS_MAX)
            self._by_loop[loop] = client
        return client

    async def close(self) -> None:
        """Close the running loop's client and its connections. The next request makes a new one."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


CLIENTS = Clients()
CLOCK: Clock = SystemClock()


async def answer_to(request: Request) -> tuple[httpx.Response, bytes]:
    """Send it, and read the whole answer up to its bound. A cancel, at any moment, closes the connection."""
    try:
        async with CLIENTS.here().stream(
            request.method,
            request.url,
            params=request.query,
            headers=request.headers,
            content=request.content,
            follow_redirects=request.follow_redirects,
            timeout=httpx.Timeout(None, connect=request.connect_timeout, read=request.read_timeout),
        ) as response:
            received = bytearray()
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > request.bytes_max:
                    raise Failed(
                        "http.too_large",
                        f"Expected at most {request.bytes_max} bytes from {_place(request)}, but the answer is larger",
                        category="business",
                        retryable=False,
                        ambiguous=True,
                        status=response.status_code,
                    )
            return response, bytes(received)
    except Failed:
        raise
    except _WRONG_ADDRESS as error:
        raise _wrong(f"Expected an address that begins with http:// or https://, but {error}") from error
    except _NOT_SENT as error:
        raise Failed(
            "http.connect", f"Expected a connection to {_place(request)}, but {_reason(error)}", detail="Nothing was sent."
        ) from error
    except httpx.TimeoutException as error:
        raise Failed(
            "http.timeout", f"Expected an answer from {_place(request)}, but nothing came for {request.read_timeout} s",
            category="timeout", ambiguous=True,
        ) from error  # fmt: skip
    except httpx.TooManyRedirects as error:
        raise Failed(
            "http.redirects", f"Expected at most {REDIRECTS_MAX} redirects from {_place(request)}", category="business"
        ) from error
    except httpx.DecodingError as error:
        raise Failed(
            "http.body", f"Expected a readable answer from {_place(request)}, but {_reason(error)}", ambiguous=True
        ) from error
    except httpx.TransportError as error:
        raise Failed(
            "http.cut",
            f"Expected an answer from {_place(request)}, but the connection was cut: {_reason(error)}",
            ambiguous=True,
            detail="The request may have been carried out.",
        ) from error


def headers_of(given: Mapping[str, str] | None, auth: Auth | None, key: str) -> dict[str, str]:
    """The header lines to send, by their names in small letters; `key` is the effect key."""
    headers = {"user-agent": "perdure"}
    authorization = _authorization(auth)
    given = dict(given or {}) | ({"authorization": authorization} if authorization is not None else {})
    for name, value in given.items():
        if not name or not name.isascii() or any(character in value + name for character in "\r\n\0"):
            raise _wrong(f"Expected a header on one line, but {name!r} is not")
        headers[name.lower()] = value
    if key:
        headers["idempotency-key"] = key
    return headers


def _authorization(given: Auth | None) -> str | None:
    """The header that authenticates. On a redirect to another host it is left out."""
    if given is None:
        return None
    if given.basic is not None and given.bearer is not None:
        raise _wrong("Expected basic or bearer under auth, but got both")
    if given.basic is not None:
        pair = f"{given.basic.username}:{given.basic.password}"
        return f"Basic {base64.b64encode(pair.encode('utf-8', 'replace')).decode()}"
    return None if given.bearer is None else f"Bearer {given.bearer}"


def content_of(json: Any, body: str | None, form: Mapping[str, Any] | None) -> bytes | None:
    """The bytes to send, None for none. Raises Failed where more than one of the three is given."""
    given = [name for name, value in (("json", json), ("body", body), ("form", form)) if value is not None]
    if len(given) > 1:
        raise _wrong(f"Expected only one of json, body and form, but got {' and '.join(given)}")
    if json is not None:
        return msgspec.json.encode(json)
    if body is not None:
        return body.encode("utf-8", "replace")
    if form is not None:
        return str(httpx.QueryParams(form)).encode()
    return None


def expect_status(response: httpx.Response, received: bytes, expect: list[int] | None, follow_redirects: bool) -> None:
    """Raises Failed `http.<status>` for an answer that does not count as success."""
    status = response.status_code
    expected = status in expect if expect is not None else 200 <= status < (300 if follow_redirects else 400)
    if expected:
        return
    later = status >= 500 or status in RETRYABLE_STATUSES
    body, _ = decoded(response, received, strict=False)
    raise Failed(
        f"http.{status}",
        f"{status} {response.reason_phrase} from {response.request.method} {_shown(response.url)}".replace("  ", " "),
        category="technical" if later else "business",
        retryable=later,
        ambiguous=status >= 500 and status not in REFUSING_STATUSES,
        retry_after=_retry_after(response.headers.get("retry-after")) if later else None,
        status=status,
        data={"body": _kept(body)},
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait: given as a number, or as the HTTP date of the moment."""
    if value is None:
        return None
    text = value.strip()
    if text.isdigit():
        return float(min(int(text), 365 * 86_400))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - CLOCK.now() / MICROSECONDS)


def decoded(response: httpx.Response, received: bytes, *, strict: bool = True) -> tuple[Any, Encoding]:
    """The body as its Content-Type says, and what it is. Raises Failed for JSON that is none, unless it may be text instead."""
    if not received:
        return None, "none"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return msgspec.json.decode(received), "json"
        except (msgspec.DecodeError, RecursionError) as error:
            if strict:
                raise Failed(
                    "http.body",
                    f"Expected JSON from {_shown(response.url)}, as its Content-Type says, but {error}",
                    ambiguous=True,
                    status=response.status_code,
                    data={"body": _kept(received.decode("utf-8", "replace"))},
                ) from error
            return received.decode("utf-8", "replace"), "text"
    if kind.startswith("text/") or kind.endswith(("xml", "javascript", "yaml", "x-www-form-urlencoded")):
        return received.decode(_charset(response), "replace"), "text"
    return base64.b64encode(received).decode(), "base64"


def _charset(response: httpx.Response) -> str:
    try:
        return "utf-8" if not response.charset_encoding else codecs.lookup(response.charset_encoding).name
    except LookupError:
        return "utf-8"


def _kept(body: Any) -> Any:
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    return body if len(text) <= KEPT_BODY_CHARACTERS_MAX else text[:KEPT_BODY_CHARACTERS_MAX] + "…"


def _wrong(sentence: str) -> Failed:
    return Failed("params.invalid", sentence, category="validation", retryable=False)


def _place(request: Request) -> str:
    try:
        return f"{request.method} {_shown(httpx.URL(request.url))}"
    except httpx.InvalidURL:
        return request.method


def _shown(url: httpx.URL) -> str:
    """An address without what may be secret in it: user, query and fragment."""
    return str(url.copy_with(username="", password="", query=None, fragment=None))


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
