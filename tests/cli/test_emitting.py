"""`emit` puts an event into the log, `events` shows it: to people and to scripts, whatever is said wrongly told as such."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest
from command_line import ASK, Perdure

from perdure.engine.codec import decode_value
from perdure.engine.events import AnyInput, Arrived
from perdure.ids import id_from_text
from perdure.store.contract import Batch, Subscription
from perdure.store.sqlite import open_store


@pytest.fixture
def waiting(perdure: Perdure) -> str:
    """A store with one execution, which waits for a signal; the execution's id."""
    return str(perdure.run(ASK, "--no-wait").last["execution"])


# -- emit ----------------------------------------------------------------------------------------------------------------


def test_an_event_is_emitted_with_all_that_is_said(perdure: Perdure, waiting: str) -> None:
    """A sentence for people on stderr, nothing on stdout; the log has type, data, subject, id and source."""
    options = ("--data", '{"by": "Ada"}', "--subject", "A-17", "--id", "e1", "--source", "/shop")
    finished = perdure("emit", "order.paid", *options)
    assert (finished.code, finished.stdout) == (0, "")
    assert finished.stderr == "emitted `order.paid` with the id e1\n"
    (event,) = perdure("events", "--json").lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event.pop("time"))
    assert event == {
        "position": 1, "id": "e1", "type": "order.paid", "source": "/shop", "subject": "A-17", "execution": None,
        "data": {"by": "Ada"},
    }  # fmt: skip


def test_what_is_not_said_is_empty_or_made(perdure: Perdure, waiting: str) -> None:
    """No data is null, no subject an empty one; the id is new each time, and the source is who emits."""
    emitted = [perdure("emit", "tick", "--json").last for _ in range(2)]
    assert [(each["type"], each["new"]) for each in emitted] == [("tick", True), ("tick", True)]
    events = perdure("events", "--json").lines
    assert [event["id"] for event in events] == [each["id"] for each in emitted]
    assert len({event["id"] for event in events}) == 2
    assert [(event["data"], event["subject"]) for event in events] == [(None, ""), (None, "")]
    assert events[0]["source"].endswith("@cli")


def test_the_same_id_is_one_event(perdure: Perdure, waiting: str) -> None:
    """The second is said to have been emitted before, with exit code 0, since it is there; the first one stays."""
    assert perdure("emit", "tick", "--id", "e1", "--data", "1").code == 0
    again = perdure("emit", "tick", "--id", "e1", "--data", "2")
    assert (again.code, again.stdout) == (0, "")
    assert again.stderr == "an event with the id e1 was emitted before; it counts once\n"
    assert perdure("emit", "tock", "--id", "e1", "--json").last == {"id": "e1", "type": "tock", "new": False}
    assert [(event["type"], event["data"]) for event in perdure("events", "--json").lines] == [("tick", 1)]


def test_data_comes_from_a_file(perdure: Perdure, waiting: str) -> None:
    """Large data too; the log shows it by digest and size, and the store is sound."""
    (perdure.folder / "large.json").write_text(json.dumps(["x" * 300_000]))
    assert perdure("emit", "large", "--data", "@large.json").code == 0
    (event,) = perdure("events", "--json").lines
    assert set(event["data"]) == {"$blob", "size"}
    assert event["data"]["size"] > 300_000
    assert perdure("verify").code == 0


def test_rule_48_who_waits_is_told(perdure: Perdure, waiting: str) -> None:
    """The event is in the inbox of an execution that waits for its type, also while no process runs it."""
    execution = id_from_text(waiting)

    async def subscribe() -> None:
        store = await open_store(perdure.store)
        await store.commit(Batch(subscriptions=[Subscription(tenant="default", type="tick", execution=execution)]))
        await store.close()

    async def inbox() -> list[Any]:
        store = await open_store(perdure.store)
        found = [arrived.message for arrived in await store.inbox(execution)]
        await store.close()
        return found

    asyncio.run(subscribe())
    perdure("emit", "tock", "--id", "e0")
    perdure("emit", "tick", "--id", "e1", "--data", "7")
    perdure("emit", "tick", "--id", "e1", "--data", "8")
    (message,) = asyncio.run(inbox())
    given = msgspec.msgpack.decode(message.body, type=AnyInput)
    assert isinstance(given, Arrived)
    assert (message.source, message.key, given.id, decode_value(given.data)) == ("event", "e1", "e1", 7)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["emit"], "EVENT"),
        (["emit", ""], "type: Expected the type of the event, but it is empty"),
        (["emit", "tick", "--data", "{"], "--data"),
        (["emit", "tick", "--data", "NaN"], "NaN"),
        (["emit", "tick", "--data", "@gone.json"], "gone.json"),
        (["emit", "tick", "--data", '{"a": [1, 9223372036854775808]}'], "data.a[1]: "),
        (["emit", "tick", "--subject", "\ud800"], "subject: Expected a text in UTF-8"),
        (["emit", "tick", "--id", "x" * 1_025], "id: Expected at most 1,024 bytes, but there are 1,025"),
        (["emit", "tick", "--store", "gone.db"], "no store at gone.db"),
        (["events", "--store", "gone.db"], "no store at gone.db"),
        (["events", "--limit", "0"], "--limit"),
    ],
)
def test_what_cannot_be_meant_is_refused(perdure: Perdure, waiting: str, arguments: list[str], said: str) -> None:
    """Exit code 2, a sentence and a remedy; nothing is in the log, and no store is made."""
    finished = perdure(*arguments)
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    assert perdure("events", "--json").lines == []
    assert not (perdure.folder / "gone.db").exists()


# -- events --------------------------------------------------------------------------------------------------------------


def test_events_are_listed_with_the_newest_last(perdure: Perdure, waiting: str) -> None:
    """The newest so many, in the order of the log, all or of one type, for people and for scripts alike."""
    for number in range(6):
        perdure("emit", ("tick", "tock")[number % 2], "--id", f"e{number}", "--data", str(number))

    def listed(*options: str) -> list[str]:
        lines = perdure("events", *options).stdout.splitlines()
        scripts = [event["id"] for event in perdure("events", *options, "--json").lines]
        assert [re.search(r" (e\d) ", line)[1] for line in lines] == scripts  # type: ignore[index]  # each line has its id
        return scripts

    assert listed() == ["e0", "e1", "e2", "e3", "e4", "e5"]
    assert listed("--limit", "2") == ["e4", "e5"]
    assert listed("--type", "tick", "--limit", "2") == ["e2", "e4"]
    assert listed("--type", "never") == []


def test_an_event_reads_in_one_line(perdure: Perdure, waiting: str) -> None:
    """When, what, about what, which, from whom, with what; long data is cut, and nothing in it moves the cursor."""
    perdure("emit", "order.paid", "--subject", "A-17", "--id", "e1", "--source", "/shop", "--data", '{"by": "Ada"}')
    perdure("emit", "a\x1b[2Jb", "--id", "e2", "--source", "", "--data", json.dumps({"text": "x\n" * 100}))
    first, second = perdure("events").stdout.splitlines()
    assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  order\.paid  A-17  e1  /shop  \{"by": "Ada"\}', first), first
    assert re.search(r'  a\?\[2Jb  –  e2  –  \{"text": "x\\nx.{40,60}…$', second), second


def test_no_events_is_said(perdure: Perdure, waiting: str) -> None:
    """Nothing on stdout, a word on stderr; a script gets neither."""
    finished = perdure("events")
    assert (finished.code, finished.stdout, finished.stderr) == (0, "", "no events\n")
    finished = perdure("events", "--json")
    assert (finished.code, finished.stdout, finished.stderr) == (0, "", "")


def test_what_a_workflow_emits_is_in_the_same_log(perdure: Perdure) -> None:
    """With the execution that emitted it, in line with what comes from outside."""
    finished = perdure.run({"tell": {"type": "emit", "event": "told", "subject": "A-17", "data": {"n": 1}}})
    execution = finished.last["execution"]
    perdure("emit", "asked")
    told, asked = perdure("events", "--json").lines
    assert (told["type"], told["execution"], told["data"]) == ("told", execution, {"n": 1})
    assert told["source"] == f"/executions/{execution}"
    assert (asked["type"], asked["execution"]) == ("asked", None)
