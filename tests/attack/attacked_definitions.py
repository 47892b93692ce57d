"""Attacks on definitions: bytes that are no text, texts that are no YAML, bombs, and sound documents damaged in their parts."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from perdure.definition import check_document, digest_of, read_definition
from perdure.definition.plan import Plan
from perdure.definition.spec import Catalog
from perdure.engine import events
from perdure.engine.events import AnyFact, AnyInput, encode
from perdure.engine.execution import RUNNING
from perdure.runtime.plans import catalog_of, works_for
from perdure.testing.rehearsal import EFFECT, Rehearsal

ROOT = Path(__file__).parents[2]
STEPS_MAX, STEP_FACTS, ROUNDS_MAX, ANSWERS_MAX, FACTS_MAX = 4, 60, 6, 8, 300
"""A plan is played so far: what does not end is bounded by the engine, and not by the checker."""
SHOWN_MAX = 4_000

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2.5, 1e308, 2**63 - 1, -(2**63), 2**63, 10**30, "", " ", "x", "a.b", "a" * 300, "é",
    "\u202e",
    "${ nodes.a }", "${ 1 + }", "${ }", "${ input }", "${ nodes.a.b[0] }", "${ [x for x in input.items] }", "${ null }",
    "1s", "0s", "-1s", "99999999d", "50%", "101%", "all", "any", "cancel", "drain", "detach", "isolate", "collect", "ignore",
    [], [None], [[]], ["a", "a"], ["a", {}], {}, {"a": []}, {"nodes": {}}, {"nodes": {"z": {"type": "transform", "to": 1}}},
    {"from": "a", "again": True, "max_visits": 3}, {"nodes": 3}, list(range(50)), {str(each): each for each in range(50)},
]  # fmt: skip
KEYS = [
    "type", "after", "when", "with", "body", "branches", "cases", "nodes", "vars", "output", "over", "as", "index", "until",
    "while",
    "times", "need", "losers", "count", "deadline", "timeout", "on_timeout", "on_failure", "retry", "catch", "finally",
    "compensate",
    "park", "lock", "disabled", "strict", "carry", "collect", "reduce", "tolerate", "concurrency", "max_iterations",
    "in_flight",
    "cleanup", "scope", "target", "signal", "event", "condition", "interval", "workflow", "wait", "input", "ui", "perdure",
    "name",
    "settings", "triggers", "cache", "delivery", "merge", "set", "value", "schema", "to", "x y", "",
]  # fmt: skip


HEAD = "perdure: 1\nname: x\nnodes:"
ONE = "{type: transform, to: 1}"
BOMBS: list[Callable[[int], str]] = [
    lambda n: "a0: &a0 [1]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, min(n, 30))),
    lambda n: f"{HEAD} {{a: {{type: transform, to: {'[' * n}{']' * n}}}}}",
    lambda n: f"{HEAD}\n" + f"  a: {ONE}\n" * n,
    lambda n: f"{HEAD}\n" + "".join(f"  n{i}: {{type: transform, to: 1, after: n{i - 1}}}\n" for i in range(n)),
    lambda n: f"{HEAD}\n  a: &a {ONE}\n" + "".join(f"  b{i}: *a\n" for i in range(n)),
    lambda n: f"{HEAD} {{" + "a: {type: try, body: {nodes: {" * min(n, 60) + "}}}" * min(n, 60) + "}",
    lambda n: f'{HEAD} {{a: {{type: transform, to: "${{ ' + "(" * n + "1" + ")" * n + ' }"}}',
    lambda n: f'{HEAD} {{a: {{type: transform, to: "' + "${ 1 }" * n + '"}}',
    lambda n: f"{HEAD} {{a: {{type: transform, to: 1, after: [" + "a, " * n + "]}}",
    lambda n: "perdure: " + "9" * n + "\nname: " + "x" * n + "\nnodes: {}",
    lambda n: "a: &a [*a]\n" * n,
    lambda n: "? " * n + "a",
]
"""Few words that stand for much, `n` times."""


@cache
def catalog() -> Catalog:
    """All node types that are built in, and an effect."""
    return Catalog({**catalog_of(works_for("")), EFFECT.name: EFFECT})


@cache
def texts() -> list[bytes]:
    """Definitions that people wrote: the examples, the patterns, and those that are wrong in one way."""
    folders = (ROOT / "examples", ROOT / "tests" / "patterns", ROOT / "tests" / "definition" / "wrong")
    return [file.read_bytes() for folder in folders for file in sorted(folder.rglob("*.yaml"))]


@cache
def documents() -> list[dict[str, Any]]:
    """Sound documents: those of the texts, and of the golden journals, one for each that the engine was ever tried with."""
    golden = sorted((ROOT / "tests" / "engine" / "journals").glob("*.json"))
    read = [read_definition(text, catalog=catalog()).document for text in texts()]
    found = [json.loads(file.read_text())["definition"] for file in golden]
    return [document for document in (*read, *found) if isinstance(document, dict) and document and _is_json(document)]


@cache
def types() -> list[str]:
    return sorted({node["type"] for document in documents() for node in _nodes(document)})


def _nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [node for each in value for node in _nodes(each)]
    if not isinstance(value, dict):
        return []
    own = [value] if isinstance(value.get("type"), str) else []
    return own + [node for each in value.values() for node in _nodes(each)]


def _scopes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [scope for each in value for scope in _scopes(each)]
    if not isinstance(value, dict):
        return []
    own = [value["nodes"]] if isinstance(value.get("nodes"), dict) else []
    return own + [scope for each in value.values() for scope in _scopes(each)]


@cache
def values_by_key() -> dict[str, list[Any]]:
    """What stands under each key, anywhere in the sound documents, each value once."""
    found: dict[str, dict[str, Any]] = {}
    for document in documents():
        for holder, key in places(document):
            if isinstance(holder, dict):
                found.setdefault(key, {})[json.dumps(holder[key])] = holder[key]
    return {key: list(values.values()) for key, values in found.items()}


def _is_json(document: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(document)) == document)
    except TypeError:
        return False


# -- cases ----------------------------------------------------------------------------------------------------------------


def definition_cases() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(damaged_documents(), damaged_documents(), damaged_texts(), raw_texts(), bombs())


def raw_texts() -> st.SearchStrategy[dict[str, Any]]:
    """Bytes, and soups of what YAML and JSON are made of."""
    words = st.sampled_from(
        [
            "perdure: 1\n", "name: x\n", "nodes:\n", "  a: ", "{type: transform, to: 1}", "\n", "  ", "- ", "? ", ": ", "&a ",
            "*a ",
            "<<: ", "!!python/object:os.system ", "!!binary ", "!!timestamp ", "| \n", "> \n", "'", '"', "{", "}", "[", "]",
            "#", "---\n",
            "...\n", "%YAML 1.1\n", "\t", "\x00", "\ufeff", "é", "~", "0o17", "1e999", ".nan", "1:30:00", "2026-01-01", "yes",
            "=",
            "9" * 5_000, "a" * 2_000, "- " * 300, "[" * 300, '{"a":' * 300, "a: b: c", "\\ud800",
        ]
    )  # fmt: skip
    soup = st.lists(words, max_size=20).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))
    return st.one_of(st.binary(max_size=200), soup, soup.map(lambda text: b"perdure: 1\nname: x\nnodes:\n" + text)).map(
        _text_case
    )


def damaged_texts() -> st.SearchStrategy[dict[str, Any]]:
    """A text that somebody wrote, with bytes changed, taken out, doubled and put elsewhere."""
    place = st.integers(0, 5_000)
    bites = st.lists(st.tuples(st.integers(0, 4), place, place, st.binary(min_size=1, max_size=6)), min_size=1, max_size=4)
    return st.builds(lambda number, bites: _text_case(_bitten(texts()[number], bites)), st.integers(0, len(texts()) - 1), bites)


def _bitten(text: bytes, bites: list[tuple[int, int, int, bytes]]) -> bytes:
    for deed, start, length, more in bites:
        at = start % (len(text) + 1)
        upto = min(len(text), at + length % 80)
        piece = text[at:upto]
        new = (more, b"", piece * 3, more + piece, piece[::-1])[deed]
        text = text[:at] + new + text[upto:]
    return text


def bombs() -> st.SearchStrategy[dict[str, Any]]:
    """Few words that stand for much: aliases, nesting, width, one name again and again."""
    number = st.sampled_from([1, 3, 10, 100, 2_000])
    return st.builds(lambda make, n: _text_case(make(n).encode()), st.sampled_from(BOMBS), number)


def damaged_documents() -> st.SearchStrategy[dict[str, Any]]:
    """A sound document with values replaced, renamed, taken out, or put from anywhere else in it, or from another one."""
    which = st.integers(0, 1_000_000)
    deed = st.tuples(st.sampled_from([*range(8), *[8] * 6, *[9] * 4]), which, which, which)
    return st.builds(
        lambda number, deeds: {"document": _damaged(number, deeds)}, st.integers(0, len(documents()) - 1),
        st.one_of(st.lists(deed, min_size=1, max_size=2), st.lists(deed, min_size=1, max_size=6)),
    )  # fmt: skip


def _damaged(number: int, deeds: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    found = copy.deepcopy(documents()[number])
    for deed, where, what, other in deeds:
        there = places(found)
        if not there:
            break
        holder, key = there[where % len(there)]
        if deed == 0:
            holder[key] = copy.deepcopy(JUNK[what % len(JUNK)])
        elif deed == 1:
            del holder[key]
        elif deed == 2 and isinstance(holder, dict):
            holder[KEYS[what % len(KEYS)]] = holder.pop(key)
        elif deed == 3 and isinstance(holder, dict):
            holder[KEYS[what % len(KEYS)]] = copy.deepcopy(JUNK[other % len(JUNK)])
        elif deed == 4:
            donors = places(documents()[other % len(documents())])
            donor, name = donors[what % len(donors)]
            holder[key] = copy.deepcopy(donor[name])
        elif deed == 5:
            donor, name = there[what % len(there)]
            holder[key] = copy.deepcopy(donor[name])
        elif deed == 6:
            nodes = _nodes(found)
            if nodes:
                nodes[what % len(nodes)]["type"] = types()[other % len(types())]
        elif deed == 8:  # what others have written under this key
            others = values_by_key().get(str(key), [holder[key]])
            holder[key] = copy.deepcopy(others[what % len(others)])
        elif deed == 9:  # a node comes after another of its scope
            scopes = [scope for scope in _scopes(found) if len(scope) > 1]
            if scopes:
                names = list(scopes[where % len(scopes)])
                node = scopes[where % len(scopes)][names[what % len(names)]]
                before = names[other % len(names)]
                if isinstance(node, dict):
                    node["after"] = [before, f"{before}.error"] if other % 3 == 0 else before
        else:
            nodes = _nodes(found)
            more = _nodes(documents()[other % len(documents())])
            if nodes and more:
                nodes[what % len(nodes)].update(copy.deepcopy(more[where % len(more)]))
    return found


def places(document: Any) -> list[tuple[Any, Any]]:
    """All values of a document, by what holds them and where in it."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        entries = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        for key, value in entries:
            found.append((holder, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def _text_case(text: bytes) -> dict[str, Any]:
    return {"text": base64.b64encode(text).decode()}


# -- the attack -----------------------------------------------------------------------------------------------------------


def attack_definition(case: dict[str, Any]) -> None:
    """Faults, each a sentence with its remedy and, in a text, a place in it; or a plan, which can be started."""
    if "text" in case:
        text = base64.b64decode(case["text"])
        for source in ("", "x.yaml", "x.json"):
            checked = read_definition(text, source=source, catalog=catalog())
            lines = text.count(b"\n") + text.count(b"\r") + text.count(b"\xc2\x85") + text.count(b"\xe2\x80") + 2
            assert all(fault.line <= lines for fault in checked.faults), "a fault beyond the end of the text"
            _judge(checked)
    else:
        before = json.dumps(case["document"])
        _judge(check_document(case["document"], catalog()))
        assert json.dumps(case["document"]) == before, "the checker changed what it was given"


def _judge(checked: Any) -> None:
    for fault in checked.faults:
        assert fault.message.startswith("Expected "), f"no sentence: {fault}"
        assert fault.remedy, f"no remedy: {fault}"
        assert len(fault.message) < SHOWN_MAX, f"a message of {len(fault.message)} characters: {fault.code}"
    assert (checked.plan is None) == bool(checked.errors), "neither a plan nor errors"
    if checked.plan is not None:
        assert digest_of(checked.document) == checked.digest
        again = check_document(checked.document, catalog())
        assert again.plan is not None, f"a document that has a plan has none when it is checked again: {again.errors}"
        assert again.plan.digest == checked.plan.digest
        play(checked.plan)


class Begun(Rehearsal):
    """A rehearsal that goes a few steps for each thing it takes, since a plan may ask for very many."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, facts_max=STEP_FACTS)

    def take(self, *inputs: AnyInput) -> list[AnyFact]:
        waiting = list(inputs)
        before = len(self.facts)
        for _ in range(STEPS_MAX):
            done = self._step(waiting)
            waiting = waiting[len(done.taken) :]
            if not done.at_rest:
                waiting.insert(0, events.Continue())
            if not waiting:
                break
        return self.facts[before:]

    def answer(self) -> None:
        """All that runs has succeeded, and the next timer is due."""
        running = [(frame.path, each.node) for frame, each in self.execution.instances() if each.state == RUNNING]
        for path in [f"{frame}.{node}" if frame else node for frame, node in running][:ANSWERS_MAX]:
            if not self.execution.ended and self.state(path) == "running":
                self.take(self.result(path, output=encode({"ok": True})))
        due = self.index.next_due(self.execution)
        if due is not None and not self.execution.ended:
            self.now = max(self.now, due)
            self.take(*self.index.take_due(self.execution, self.now))


def play(plan: Plan) -> None:
    """Start it; answer what runs and let time pass, some rounds; lose the home; cancel it."""
    begun = Begun(plan)
    begun.take(events.Start(execution=b"attack--attack--", input=encode({"items": [1, 2], "a": "x"})))
    for _ in range(ROUNDS_MAX):
        if begun.execution.ended or len(begun.facts) > FACTS_MAX:
            break
        begun.answer()
    for last in (events.Recovered(crashed=True, worker="next"), events.Operate(action="cancel", by="operator")):
        begun.refold()
        begun.take(last)
