"""The node `http`: one HTTP request, its answer as data, its errors as codes that a workflow can decide by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config

from perdure.definition.spec import Example
from perdure.nodes.decorator import node, work_of
from perdure.nodes.work import Context

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Encoding = Literal["json", "text", "base64", "none"]
Scalar = str | int | float | bool

BODY_BYTES_MAX = 10 << 20  # the default; a larger answer belongs in a file or an object store
CONNECT_SECONDS = 30.0  # connecting has a bound of its own; the answer may take as long as the node's `timeout` allows


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
    from perdure.nodes import exchange

    request = exchange.Request(
        method=method,
        url=url,
        headers=exchange.headers_of(headers, auth, context.key),
        query={name: value for name, value in query.items() if value is not None} if query is not None else None,
        content=exchange.content_of(json, body, form),
        follow_redirects=follow_redirects,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        bytes_max=max_bytes,
    )
    content_type = "application/json" if json is not None else "application/x-www-form-urlencoded" if form is not None else None
    if content_type and "content-type" not in request.headers:
        request.headers["content-type"] = content_type
    began = exchange.CLOCK.monotonic()
    response, received = await exchange.answer_to(request)
    exchange.expect_status(response, received, expect, follow_redirects)
    decoded, encoding = exchange.decoded(response, received)
    return Answer(
        status=response.status_code,
        headers=dict(response.headers.items()),
        body=decoded,
        encoding=encoding,
        url=str(response.url),
        elapsed_ms=round((exchange.CLOCK.monotonic() - began) * 1_000),
    )


WORK = work_of(http)
SPEC = WORK.spec
