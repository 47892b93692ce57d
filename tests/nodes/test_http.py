"""The node `http` against a local server: what it sends, what it returns, and how each kind of trouble is called."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from perdure.clock import MICROSECONDS
from perdure.errors import Failure
from perdure.nodes import Context, Failed, exchange
from perdure.nodes import http as node

Reply = Callable[[str, dict[str, str], bytes], bytes]


def reply(status: int = 200, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an HTTP answer that ends its connection."""
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def as_json(value: Any, status: int = 200, *headers: str) -> bytes:
    """An answer in JSON."""
    return reply(status, json.dumps(value).encode(), "Content-Type: application/json", *headers)


def echo(line: str, headers: dict[str, str], body: bytes) -> bytes:
    """Answers what was asked."""
    return as_json({"line": line, "headers": headers, "body": body.decode()})


def run(answer: Reply | bytes, key: str = "p1_key", path: str = "/", **params: Any) -> dict[str, Any]:
    """Serve the answer on a free port, call the node, and give its output."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (header.split(": ", 1) for header in rest)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        writer.write(answer if isinstance(answer, bytes) else answer(line, headers, body))
        await writer.drain()
        writer.close()

    async def main() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
        try:
            return await node.WORK.run({"url": url, **params}, Context(key=key))
        finally:
            await exchange.CLIENTS.close()
            server.close()

    output: dict[str, Any] = asyncio.run(main())
    return output


def failure(answer: Reply | bytes, **params: Any) -> Failure:
    """The failure with which the node comes back."""
    with pytest.raises(Failed) as raised:
        run(answer, **params)
    return raised.value.failure


# -- what is sent -----------------------------------------------------------------------------------------------------
def test_rule_50_the_effect_key_is_sent_with_every_request() -> None:
    """`Idempotency-Key` carries the effect key, whatever the method, and no author's header can replace it."""
    for method in ("GET", "POST"):
        sent = run(echo, method=method, headers={"idempotency-key": "mine"})["body"]["headers"]
        assert sent["idempotency-key"] == "p1_key"


def test_a_request_carries_method_query_and_headers() -> None:
    """A list in `query` repeats its name, null leaves it out."""
    output = run(echo, path="/items", method="PUT", query={"a": [1, 2], "b": None, "c": "x y"}, headers={"X-One": "1"})
    assert output["body"]["line"] == "PUT /items?a=1&a=2&c=x+y HTTP/1.1"
    assert output["body"]["headers"]["x-one"] == "1"


@pytest.mark.parametrize(
    "params, content_type, body",
    [
        ({"json": {"a": [1, None]}}, "application/json", '{"a":[1,null]}'),
        ({"form": {"a": "1 2", "b": [3, 4]}}, "application/x-www-form-urlencoded", "a=1+2&b=3&b=4"),
        ({"body": "plain", "headers": {"Content-Type": "text/x"}}, "text/x", "plain"),
    ],
)
def test_a_body_is_sent_in_its_form(params: dict[str, Any], content_type: str, body: str) -> None:
    """JSON, form and text each go with their Content-Type."""
    sent = run(echo, method="POST", **params)["body"]
    assert (sent["headers"]["content-type"], sent["body"]) == (content_type, body)


def test_authentication_is_sent() -> None:
    """Basic and bearer make the header Authorization."""
    basic = run(echo, auth={"basic": {"username": "u", "password": "p"}})["body"]["headers"]["authorization"]
    assert basic == f"Basic {base64.b64encode(b'u:p').decode()}"
    assert run(echo, auth={"bearer": "t"})["body"]["headers"]["authorization"] == "Bearer t"


def test_authentication_stays_with_its_host() -> None:
    """A redirect to another host carries no Authorization."""

    def lead(line: str, headers: dict[str, str], body: bytes) -> bytes:
        if "/a" in line:
            port = headers["host"].partition(":")[2]
            return reply(302, b"", f"Location: http://localhost:{port}/b")
        return as_json("authorization" in headers)

    assert run(lead, path="/a", auth={"bearer": "t"})["body"] is False
    assert run(lead, path="/b", auth={"bearer": "t"})["body"] is True


@pytest.mark.parametrize(
    "params",
    [
        {"json": 1, "body": "x"},
        {"auth": {"bearer": "t", "basic": {"username": "u", "password": "p"}}},
        {"auth": {"token": "t"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"url": "ftp://127.0.0.1/"},
        {"url": "nothing"},
        {"method": "STEAL"},
        {"expect": [99]},
        {"verfiy": False},
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_sent(params: dict[str, Any]) -> None:
    """Contradictions, unknown words, broken headers and addresses are `params.invalid`."""
    refused = failure(echo, **params)
    assert (refused.code, refused.category, refused.retryable) == ("params.invalid", "validation", False)


# -- what comes back --------------------------------------------------------------------------------------------------
def test_json_is_parsed() -> None:
    """Status, headers in small letters, the body as data, the final address."""
    output = run(as_json({"a": 1}, 201, "X-Two: 2"))
    assert (output["status"], output["body"], output["encoding"], output["headers"]["x-two"]) == (201, {"a": 1}, "json", "2")
    assert output["url"].startswith("http://127.0.0.1:")
    assert output["elapsed_ms"] >= 0


@pytest.mark.parametrize(
    "body, content_type, value, encoding",
    [
        (b"", "application/json", None, "none"),
        ("ü".encode("latin-1"), "text/plain; charset=iso-8859-1", "ü", "text"),
        ("ü".encode(), "text/plain; charset=nonsense", "ü", "text"),
        (b"\xff", "text/plain", "\ufffd", "text"),
        (b"\x00\xff", "image/png", "AP8=", "base64"),
        (b'{"a": 1}', "application/problem+json", {"a": 1}, "json"),
    ],
)
def test_a_body_is_read_by_its_type(body: bytes, content_type: str, value: Any, encoding: str) -> None:
    """JSON if it says so, text if it is text, base64 otherwise, null if there is nothing."""
    output = run(reply(200, body, f"Content-Type: {content_type}"))
    assert (output["body"], output["encoding"]) == (value, encoding)


def test_json_that_is_none_fails() -> None:
    """An answer that says JSON and is not is `http.body`, with what came instead."""
    refused = failure(reply(200, b"<html>", "Content-Type: application/json"))
    assert (refused.code, refused.data) == ("http.body", {"body": "<html>"})


def test_an_integer_beyond_64_bits_is_refused_at_the_border() -> None:
    """Values that the journal cannot hold do not come in by HTTP either (day-one 10)."""
    assert failure(reply(200, b"[18446744073709551616]", "Content-Type: application/json")).code == "output.invalid"


def test_too_large_an_answer_is_cut() -> None:
    """Reading ends at max_bytes."""
    assert failure(reply(200, b"x" * 100_000), max_bytes=1_000).code == "http.too_large"
    assert run(reply(200, b"x" * 1_000, "Content-Type: text/plain"), max_bytes=1_000)["body"] == "x" * 1_000


def test_redirects_are_followed_or_returned() -> None:
    """By default a 3xx leads on; without `follow_redirects` it is an answer like others; a circle ends."""

    def lead(line: str, headers: dict[str, str], body: bytes) -> bytes:
        return reply(302, b"", "Location: /b") if "/a" in line else as_json(line)

    assert run(lead, path="/a")["body"] == "GET /b HTTP/1.1"
    assert run(lead, path="/a", follow_redirects=False)["status"] == 302
    assert failure(reply(302, b"", "Location: /")).code == "http.redirects"


# -- statuses ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "status, category, retryable, ambiguous",
    [
        (400, "business", False, False),
        (402, "business", False, False),
        (404, "business", False, False),
        (408, "technical", True, False),
        (425, "technical", True, False),
        (429, "technical", True, False),
        (500, "technical", True, True),
        (502, "technical", True, True),
        (503, "technical", True, False),
        (599, "technical", True, True),
    ],
)
def test_a_status_has_its_code_and_category(status: int, category: str, retryable: bool, ambiguous: bool) -> None:
    """`http.<status>`: later means retryable; a 5xx that does not say "not done" may have been done."""
    failed = failure(as_json({"why": "so"}, status))
    assert (failed.code, failed.status) == (f"http.{status}", status)
    assert (failed.category, failed.retryable, failed.ambiguous) == (category, retryable, ambiguous)
    assert failed.data == {"body": {"why": "so"}}


def test_expected_statuses_are_success_and_no_other() -> None:
    """`expect` replaces the rule that every 2xx is well."""
    assert run(as_json(1, 404), expect=[404])["status"] == 404
    assert failure(as_json(1, 200), expect=[404]).code == "http.200"


def test_retry_after_is_honoured_in_seconds_and_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of Retry-After become microseconds; nonsense is ignored; a moment gone by is now."""

    class Noon:
        def now(self) -> int:
            return 1_800_000_000 * MICROSECONDS

        def monotonic(self) -> float:
            return 0.0

    monkeypatch.setattr(exchange, "CLOCK", Noon())
    date = email.utils.formatdate(1_800_000_090, usegmt=True)
    past = email.utils.formatdate(1_700_000_000, usegmt=True)
    for header, seconds in (("7", 7), (date, 90), (past, 0), ("soon", None)):
        failed = failure(as_json(1, 503, f"Retry-After: {header}"))
        assert failed.retry_after == (None if seconds is None else seconds * MICROSECONDS)


def test_an_errors_title_keeps_what_may_be_secret_to_itself() -> None:
    """User, query and fragment of an address appear in no message."""
    failed = failure(as_json(1, 404), path="/items?token=hush#part")
    assert "/items" in failed.title
    assert "hush" not in failed.title


def test_a_large_error_body_is_shortened() -> None:
    """The journal keeps enough of an error's body to see why."""
    assert len(failure(reply(500, b"x" * 50_000, "Content-Type: text/plain")).data["body"]) < 5_000


# -- trouble on the way -----------------------------------------------------------------------------------------------
def test_nobody_there_means_that_nothing_was_sent() -> None:
    """A refused connection is `http.connect`: definite, whatever the request was."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    failed = failure(echo, url=f"http://127.0.0.1:{port}/", method="POST")
    assert (failed.code, failed.category, failed.ambiguous) == ("http.connect", "technical", False)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"rubbish\r\n\r\n"])
def test_a_connection_that_is_cut_is_ambiguous(answer: bytes) -> None:
    """Cut before or in the middle of the answer: nobody knows whether it was carried out."""
    failed = failure(answer, method="POST")
    assert (failed.code, failed.category, failed.ambiguous) == ("http.cut", "technical", True)


def test_silence_beyond_the_read_timeout_is_a_timeout() -> None:
    """A server that takes the request and says nothing."""

    async def main() -> Failure:
        silent = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await silent.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Failed) as raised:
            await node.WORK.run({"url": url, "read_timeout": 0.05}, Context())
        silent.set()
        await exchange.CLIENTS.close()
        server.close()
        return raised.value.failure

    failed = asyncio.run(main())
    assert (failed.code, failed.category, failed.ambiguous) == ("http.timeout", "timeout", True)


def test_a_guard_can_stand_before_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that refuses with `Failed` is asked for every request, redirects included."""
    asked: list[str] = []

    class Guard(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            if request.url.path == "/inside":
                raise Failed("http.forbidden", "Expected a public address", category="validation", retryable=False)
            return httpx.Response(302, headers={"Location": "/inside"})

    monkeypatch.setattr(exchange, "CLIENTS", exchange.Clients(Guard))
    with pytest.raises(Failed, match="http.forbidden"):
        asyncio.run(node.WORK.run({"url": "http://outside.example/"}, Context()))
    assert asked == ["/", "/inside"]


def test_connections_are_kept_between_requests() -> None:
    """Two requests to one server on one loop use one connection."""

    async def main() -> int:
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(2):
            await node.WORK.run({"url": url}, Context())
        await exchange.CLIENTS.close()
        server.close()
        return connections

    assert asyncio.run(main()) == 1
