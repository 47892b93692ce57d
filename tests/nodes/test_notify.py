"""The node `notify` against a local service: addresses, channels, and what is said when a message is not taken."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.errors import Failure
from perdure.nodes import Context, Failed
from perdure.nodes.notify import WORK


class Service:
    """A service that takes messages in JSON at `/ok` and refuses them elsewhere."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200 if self.path == "/ok" else 500)
                self.end_headers()

            def log_message(self, *words: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self, path: str = "ok", user: str = "") -> str:
        """Where it can be reached, as Apprise writes it."""
        return f"json://{user}127.0.0.1:{self.server.server_port}/{path}"


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on a free port."""
    running = Service()
    yield running
    running.server.shutdown()
    running.server.server_close()


def run(channels: dict[str, Any] | None = None, **params: Any) -> Any:
    """The output of the node."""
    return WORK.run(params, Context(options={"channels": channels or {}}))


def failure(channels: dict[str, Any] | None = None, **params: Any) -> Failure:
    """The failure of the node."""
    with pytest.raises(Failed) as raised:
        run(channels, **params)
    return raised.value.failure


def test_a_message_arrives(service: Service) -> None:
    """Title, body and kind reach the service."""
    assert run(to=[service.address()], title="T", body="B", type="warning") == {"sent": 1}
    (message,) = service.messages
    assert (message["title"], message["message"], message["type"]) == ("T", "B", "warning")


def test_a_title_alone_is_a_message(service: Service) -> None:
    """Services want a body; a lone title becomes it."""
    run(to=service.address(), title="Only this")
    assert service.messages[0]["message"] == "Only this"


def test_channels_are_resolved_by_the_operators_settings(service: Service) -> None:
    """Names stand for addresses, lists and other names; each address is told once; without `to` it is `default`."""
    channels = {"default": "ops", "ops": [service.address(), "again"], "again": service.address()}
    assert run(channels, title="T") == {"sent": 1}
    assert len(service.messages) == 1


def test_a_channel_that_nobody_configured_is_a_clear_error() -> None:
    """The sentence names it and what there is."""
    failed = failure({"ops": "json://127.0.0.1"}, to=["opps"], title="T")
    assert (failed.code, failed.category) == ("notify.channel", "validation")
    assert "'opps'" in failed.title
    assert "only ops" in failed.title


def test_channels_that_name_each_other_end() -> None:
    """A circle is an error, not a loop."""
    assert failure({"a": "b", "b": "a"}, to="a", title="T").code == "notify.channel"


def test_an_address_of_no_service_is_refused_without_showing_it() -> None:
    """Only the scheme appears: the rest may be a password."""
    failed = failure(to=["nosuch://user:hush@host"], title="T")
    assert failed.code == "notify.address"
    assert "nosuch" in failed.title
    assert "hush" not in failed.title + failed.detail


def test_a_partial_failure_says_how_many_took_it(service: Service) -> None:
    """All are tried; the failure is technical and ambiguous, and shows no password."""
    failed = failure(to=[service.address(), service.address("no", "user:hush@")], title="T")
    assert (failed.code, failed.category, failed.ambiguous) == ("notify.failed", "technical", True)
    assert failed.data == {"sent": 1, "failed": 1}
    assert "hush" not in failed.title + failed.detail
    assert len(service.messages) == 2


@pytest.mark.parametrize(
    "params", [{}, {"title": "T", "to": []}, {"title": "T", "type": "bad"}, {"title": "T", "to": ["x"] * 51}]
)
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    """No message, no receiver, an unknown kind, too many receivers."""
    assert failure(**params).code == "params.invalid"
