"""However a definition is damaged, the checker answers with faults, never with an exception."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from perdure.definition import Catalog, check_document

JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    3,
    2.5,
    "",
    "x",
    "a.b",
    "${ nodes.start }",
    "${ 1 + }",
    [],
    [None],
    ["a", {}],
    {},
    {"nodes": 3},
    {"a": []},
)

WHOLE: dict[str, Any] = {
    "perdure": 1,
    "name": "whole",
    "input": {"type": "object"},
    "settings": {
        "timeout": "1h",
        "concurrency": {"limit": 2, "key": "${ input.k }"},
        "retry": {"attempts": 2},
        "on_timeout": "retry",
    },
    "triggers": [{"type": "schedule", "cron": "@daily", "id": "t"}, {"type": "finished", "workflow": ["other"]}],
    "vars": {"n": {"value": 0, "merge": "sum"}, "m": 1},
    "nodes": {
        "start": {
            "type": "http",
            "with": {"url": "${ input.u }", "tags": ["a"]},
            "retry": {"attempts": 3, "on": "http.5xx"},
            "cache": {"key": "k"},
        },
        "pick": {"type": "switch", "after": "start", "cases": {"a": "${ nodes.start.a }", "b": False}},
        "split": {
            "type": "parallel",
            "after": ["pick.a", "pick.default"],
            "need": "50%",
            "branches": {
                "l": {"nodes": {"set": {"type": "set_variable", "set": {"n": 1}}}},
                "r": {
                    "vars": {"z": 1},
                    "nodes": {"say": {"type": "log", "message": "${ vars.z }"}},
                    "output": "${ nodes.say }",
                },
            },
        },
        "each": {
            "type": "loop",
            "after": "split",
            "over": "${ nodes.start.list }",
            "as": "line",
            "carry": {"start": 0, "next": "${ carry + nodes.work.n }"},
            "collect": "reduce",
            "reduce": {"start": 0, "next": "${ carry + item }"},
            "until": "${ last.done }",
            "body": {
                "nodes": {
                    "work": {
                        "type": "notify",
                        "compensate": {"nodes": {"undo": {"type": "notify", "with": "${ self.input }"}}},
                    },
                    "leave": {"type": "break", "loop": "each", "after": "work", "when": "${ line.stop }"},
                }
            },
        },
        "guard": {
            "type": "try",
            "after": "each",
            "body": {"nodes": {"risky": {"type": "notify"}}},
            "catch": [
                {
                    "on": "x",
                    "as": "e",
                    "body": {"nodes": {"back": {"type": "rollback", "of": "risky", "when": "${ e.code == 'x' }"}}},
                }
            ],
            "finally": {"nodes": {"note": {"type": "log", "message": "done"}}},
        },
        "poll": {
            "type": "http",
            "with": {"url": "x"},
            "after": ["guard", {"from": "ready.false", "again": True, "max_visits": 3}],
        },
        "ready": {"type": "condition", "after": "poll", "if": "${ nodes.poll.ok and previous.poll == null }"},
        "caught": {
            "type": "notify",
            "after": "ready.true",
            "timeout": "1s",
            "catch": [{"on": ["a.*"], "when": "${ error.x }", "to": "odd"}],
        },
        "all": {"type": "join", "after": ["caught.odd", "caught.timeout", "caught"], "need": "${ join.success > 0 }"},
        "check": {"type": "validate", "after": "all", "value": 1, "schema": {"type": "integer"}},
        "stop": {"type": "cancel", "after": "all", "target": "check"},
    },
    "output": {"n": "${ nodes.check }"},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values of a document but the document itself."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in entries for place in ((*path, key), *places(item, (*path, key)))]


def holder_of(document: Any, path: tuple[Any, ...]) -> Any:
    """What holds the value at a path."""
    for step in path[:-1]:
        document = document[step]
    return document


def damaged(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A copy with one to three values replaced, removed, renamed or put elsewhere."""
    result = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(places(result))
        holder, key = holder_of(result, path), path[-1]
        deed = chance.randrange(4)
        if deed == 0:
            holder[key] = copy.deepcopy(chance.choice(JUNK))
        elif deed == 1:
            del holder[key]
        elif deed == 2 and isinstance(holder, dict):
            holder[chance.choice(["type", "body", "catch", "on", "need", "x y", "after", "nodes", "with"])] = holder.pop(key)
        else:
            other = chance.choice(places(document))
            holder[key] = copy.deepcopy(holder_of(document, other)[other[-1]])
    return result


def test_the_whole_definition_is_right(catalog: Catalog) -> None:
    """What is damaged below has no error to begin with."""
    assert check_document(WHOLE, catalog).errors == []


@pytest.mark.parametrize("path", places(WHOLE), ids=str)
def test_any_single_value_may_be_junk(path: tuple[Any, ...], catalog: Catalog) -> None:
    """Each value in turn is replaced by a third of the kinds of junk; there is a plan, or there are errors."""
    for junk in JUNK[places(WHOLE).index(path) % 3 :: 3]:
        document = copy.deepcopy(WHOLE)
        holder_of(document, path)[path[-1]] = copy.deepcopy(junk)
        checked = check_document(document, catalog)
        assert (checked.plan is None) == bool(checked.errors)


@pytest.mark.parametrize("seed", range(40))
def test_several_damages_at_once(seed: int, catalog: Catalog) -> None:
    """Ten documents with a seed, damaged in up to three places each."""
    chance = random.Random(seed)
    for _ in range(10):
        checked = check_document(damaged(WHOLE, chance), catalog)
        assert (checked.plan is None) == bool(checked.errors)
        assert all(fault.message and fault.remedy for fault in checked.faults)
