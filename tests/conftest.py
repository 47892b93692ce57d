"""What all tests share: whatever a test runs is read a second time when it is over, from what became durable of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.testing.replay import SecondReading, findings_in

pytest_plugins = ["pytester"]
sys.path.insert(0, str(Path(__file__).parent))  # the server is a module beside the tests, not part of the product

if TYPE_CHECKING:
    from perdure.testing.stores.postgres import PostgresPlace
    from postgres_server import PostgresServer

FIGURES = ("executions", "turns", "shortened", "unseen", "stores", "tests_left_out")
_READING = pytest.StashKey[SecondReading]()
_WATCHING = pytest.StashKey[ExitStack]()
_TOTALS = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "not_replayed(why): what this test runs is not read a second time, since it tampers with it, or measures it"
    )
    config.stash[_TOTALS] = dict.fromkeys(FIGURES, 0)
    config.stash[_READING] = SecondReading()
    config.stash[_WATCHING] = ExitStack()
    config.stash[_WATCHING].enter_context(config.stash[_READING].watching())


def pytest_unconfigure(config: pytest.Config) -> None:
    if _WATCHING in config.stash:
        config.stash[_WATCHING].close()


@pytest.fixture(autouse=True)
def read_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every execution of every test: its journal folds to the state its home had, and its inputs give its facts again."""
    reading, totals = request.config.stash[_READING], request.config.stash[_TOTALS]
    marker = request.node.get_closest_marker("not_replayed")
    if marker is not None:
        assert any(isinstance(why, str) for why in marker.args), 'Expected the reason: `@pytest.mark.not_replayed("…")`.'
        totals["tests_left_out"] += 1
    reading.paused = marker is not None
    yield
    reading.paused = False
    if marker is not None:
        return reading.forget()
    differences = reading.differences()
    for name in FIGURES[:4]:
        totals[name] = getattr(reading, name)
    assert not differences, "what was committed comes out otherwise when it is read again:\n" + "\n".join(differences)


@pytest.fixture
def verify_store(request: pytest.FixtureRequest, read_again: None) -> Callable[..., None]:
    """Verifies a store's file in depth: for those that processes of their own have written, where nobody saw it."""

    def verify(path: Path, *, node_files: tuple[str, ...] = ()) -> None:
        if request.node.get_closest_marker("not_replayed") is None and path.exists():
            request.config.stash[_TOTALS]["stores"] += 1
            assert asyncio.run(findings_in(path, node_files=node_files)) == []

    return verify


# -- PostgreSQL ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, started when the first test asks for it, and gone with the last."""
    from postgres_server import PostgresServer

    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_place(postgres_server: PostgresServer) -> Iterator[PostgresPlace]:
    """An empty store in PostgreSQL."""
    from perdure.testing.stores.postgres import PostgresPlace

    with postgres_server.clean_database() as name:
        sql, spoil = partial(postgres_server.sql, database=name), partial(postgres_server.spoil, name)
        place = PostgresPlace(postgres_server.url(name), sql, spoil)
        yield place
        place.abandon()


# -- what is said at the end --------------------------------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["replay"] = session.config.stash[_TOTALS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    totals = node.config.stash[_TOTALS]
    for name, count in getattr(node, "workeroutput", {}).get("replay", {}).items():
        totals[name] += count


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    terminalreporter.write_line(summary(config.stash[_TOTALS]))


def summary(totals: dict[str, int]) -> str:
    """One line on what was read again, and what was not."""
    said = f"replay: {totals['executions']:,} executions, {totals['turns']:,} turns stepped again"
    more = {
        "shortened": "executions only in their first facts",
        "unseen": "executions whose beginning was not seen",
        "stores": "stores of other processes verified in depth",
        "tests_left_out": "tests not read",
    }
    return "; ".join([said, *(f"{totals[name]:,} {what}" for name, what in more.items() if totals[name])])
