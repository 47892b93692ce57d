"""The node `http`: one HTTP request, its answer as data, its errors as codes that a workflow can decide by."""

from __future__ import annotations

import asyncio
import base64
import codecs
import email.utils
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import httpx
import msgspec
from pydantic import ConfigDict, Field, with_config

from perdure.clock import MICROSECONDS, Clock, SystemClock
from perdure.definition.spec import Example
from perdure.nodes.decorator import node, work_of
from perdure.nodes.work import Context, Failed

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Encoding = Literal["json", "text", "base64", "none"]
Scalar = str | int | float | bool

BODY_BYTES_MAX = 10 << 20  # the default; a larger answer belongs in a file or an object store
CONNECT_SECONDS = 30.0  # connecting has a bound of its own; the answer may take as long as the node's `timeout` allows
REDIRECTS_MAX = 20
KEPT_BODY_CHARACTERS_MAX = 4_000  # of an error's body: enough to see why, little enough for the journal
RETRYABLE_STATUSES = frozenset({408, 425, 429})  # "later", said with a 4xx
REFUSING_STATUSES = frozenset({501, 503, 505})  # 5xx that say: not done; after others it may have been (rule 53)

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_WRONG_ADDRESS = (httpx.InvalidURL, httpx.UnsupportedProtocol)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Basic:
    """User name and password, sent with the request as they are."""

    username: str
    password: str


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Auth:
    """How to authenticate: one of both."""

    basic: Basic | None = None
    bearer: str | None = None


@with_config(ConfigDict(ser_json_inf_nan="constants"))
@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is parsed JSON, text, or base64, as `encoding` says. Header names are in small letters; `url` is the final one."""

    status: int
    headers: dict[str, str]
    body: Any
    encoding: Encoding
    url: str
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, checked. `content` excludes nothing: json, body and form are already bytes here."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, Any] | None
    content: bytes | None
    follow_redirects: bool
    timeout: httpx.Timeout
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


_ECHO = {"type": "http", "with": {"url": "${ input.base }/items/1"}, "timeout": "10s"}

EXAMPLES = (
    Example(
        title="Fetch a document and use a field of it",
        definition={
            "perdure": 1,
            "name": "fetch-item",
            "input": {"type": "object", "required": ["base"], "properties": {"base": {"type": "string"}}},
            "nodes": {"fetch": _ECHO},
            "output": "${ nodes.fetch.body }",
        },
        input={"base": "http://127.0.0.1:8000"},
        check_output=False,
    ),
    Example(
        title="Create something, and go another way where it is not found",
        definition={
            "perdure": 1,
            "name": "create-item",
            "input": {"type": "object", "required": ["base"], "properties": {"base": {"type": "string"}}},
            "nodes": {
                "create": {
                    "type": "http",
                    "with": {"method": "POST", "url": "${ input.base }/items", "json": {"name": "lamp"}, "expect": [200, 201]},
                    "retry": {"attempts": 3, "initial": "1s", "on": ["http.connect", "http.503"]},
                    "catch": [{"on": "http.404", "to": "missing"}],
                },
                "note": {"type": "log", "after": "create.missing", "message": "There is no such place."},
            },
        },
        input={"base": "http://127.0.0.1:8000"},
        check_output=False,
    ),
)


@node("http", title="HTTP request", group="integration", examples=EXAMPLES)
async def http(
    url: Annotated[str, Field(min_length=1, max_length=8_000)],
    context: Context,
    *,
    method: Method = "GET",
    headers: dict[str, str] | None = None,
    query: dict[str, Scalar | list[Scalar] | None] | None = None,
    json: Any = None,
    body: str | None = None,
    form: dict[str, Scalar | list[Scalar]] | None = None,
    auth: Auth | None = None,
    expect: list[Annotated[int, Field(ge=100, le=599)]] | None = None,
    follow_redirects: bool = True,
    connect_timeout: Annotated[float, Field(gt=0, le=600)] = CONNECT_SECONDS,
    read_timeout: Annotated[float, Field(gt=0)] | None = None,
    max_bytes: Annotated[int, Field(ge=0, le=256 << 20)] = BODY_BYTES_MAX,
) -> Answer:
    """Send an HTTP request and take its answer as data.

    Every request carries the header `Idempotency-Key`, the same over retries and crashes, so that a receiver can drop repeats.

    An answer that is not expected fails with the code `http.<status>`: 5xx, 408, 425 and 429 are technical and may be retried
    (`Retry-After` is honoured), other ones are business errors and are not. `http.connect` means that the request was never
    sent; after `http.cut` and `http.timeout` nobody knows whether it was carried out. The node's `timeout` bounds the whole
    exchange, however slowly the answer drips.

    Args:
        url: Where to send it, `http://` or `https://`.
        method: What to do there.
        headers: Header lines to send along.
        query: Parameters of the address; a list repeats its name, null leaves it out.
        json: A value to send as JSON. Only one of json, body and form.
        body: A text to send as it is; name its type in the header `Content-Type`.
        form: Fields to send as a web form does.
        auth: Basic (username, password) or bearer (a token).
        expect: The statuses that count as success. Default: every 2xx, and 3xx where redirects are not followed.
        follow_redirects: Go where a 3xx points, at most 20 times.
        connect_timeout: Seconds to get a connection.
        read_timeout: Seconds without a single byte; unbounded unless given.
        max_bytes: A larger answer fails with `http.too_large`.
    """
    request = _Request(
        method=method,
        url=url,
        headers=_headers(headers, _authorization(auth), context),
        query={name: value for name, value in query.items() if value is not None} if query is not None else None,
        content=_content(json, body, form),
        follow_redirects=follow_redirects,
        timeout=httpx.Timeout(None, connect=connect_timeout, read=read_timeout),
        bytes_max=max_bytes,
    )
    content_type = "application/json" if json is not None else "application/x-www-form-urlencoded" if form is not None else None
    if content_type and "content-type" not in request.headers:
        request.headers["content-type"] = content_type
    began = CLOCK.monotonic()
    response, received = await _exchange(CLIENTS.here(), request)
    _expect(response, received, expect, follow_redirects)
    decoded, encoding = _decode(response, received)
    return Answer(
        status=response.status_code,
        headers=dict(response.headers.items()),
        body=decoded,
        encoding=encoding,
        url=str(response.url),
        elapsed_ms=round((CLOCK.monotonic() - began) * 1_000),
    )


WORK = work_of(http)
SPEC = WORK.spec


async def _exchange(client: httpx.AsyncClient, request: _Request) -> tuple[httpx.Response, bytes]:
    """Send it, and read the whole answer up to its bound. A cancel, at any moment, closes the connection."""
    try:
        async with client.stream(
            request.method,
            request.url,
            params=request.query,
            headers=request.headers,
            content=request.content,
            follow_redirects=request.follow_redirects,
            timeout=request.timeout,
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
            "http.timeout", f"Expected an answer from {_place(request)}, but nothing came for {request.timeout.read} s",
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


def _headers(given: Mapping[str, str] | None, authorization: str | None, context: Context) -> dict[str, str]:
    headers = {"user-agent": "perdure"}
    given = dict(given or {}) | ({"authorization": authorization} if authorization is not None else {})
    for name, value in given.items():
        if not name or not name.isascii() or any(character in value + name for character in "\r\n\0"):
            raise _wrong(f"Expected a header on one line, but {name!r} is not")
        headers[name.lower()] = value
    if context.key:
        headers["idempotency-key"] = context.key
    return headers


def _content(json: Any, body: str | None, form: Mapping[str, Any] | None) -> bytes | None:
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


def _expect(response: httpx.Response, received: bytes, expect: list[int] | None, follow_redirects: bool) -> None:
    status = response.status_code
    expected = status in expect if expect is not None else 200 <= status < (300 if follow_redirects else 400)
    if expected:
        return
    later = status >= 500 or status in RETRYABLE_STATUSES
    body, _ = _decode(response, received, strict=False)
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


def _decode(response: httpx.Response, received: bytes, *, strict: bool = True) -> tuple[Any, Encoding]:
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


def _place(request: _Request) -> str:
    try:
        return f"{request.method} {_shown(httpx.URL(request.url))}"
    except httpx.InvalidURL:
        return request.method


def _shown(url: httpx.URL) -> str:
    """An address without what may be secret in it: user, query and fragment."""
    return str(url.copy_with(username="", password="", query=None, fragment=None))


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
