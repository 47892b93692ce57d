"""The workflows as n8n has them: a webhook, then nodes that write a text; documents that n8n imports."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bench.peers.engines import TEXT_BYTES

HOOK, WAIT = "hook", "wait"
FIELD = {"id": "text", "name": "text", "value": "x" * TEXT_BYTES, "type": "string"}


def workflows(chains: list[int], *, saves_each: bool) -> list[dict[str, Any]]:
    """A chain of each length, a loop over as many items as it is sent, and one that waits 30 days."""
    return [*(_chain(length, saves_each) for length in chains), _loop(saves_each), _sleeper(saves_each)]


def _node(name: str, kind: str, version: float, **parameters: Any) -> dict[str, Any]:
    place = {"typeVersion": version, "position": [0, 0], "parameters": parameters}
    return {"id": name, "name": name, "type": f"n8n-nodes-base.{kind}", **place}


def _hook(path: str, answers: str) -> dict[str, Any]:
    return {**_node(HOOK, "webhook", 2, httpMethod="POST", path=path, responseMode=answers, options={}), "webhookId": path}


def _step(name: str) -> dict[str, Any]:
    return _node(name, "set", 3.4, assignments={"assignments": [FIELD]}, options={})


def _to(*names: str) -> list[dict[str, Any]]:
    return [{"node": name, "type": "main", "index": 0} for name in names]


def _in_a_row(*names: str) -> dict[str, Any]:
    return {before: {"main": [_to(after)]} for before, after in pairwise(names)}


def _workflow(name: str, nodes: list[dict[str, Any]], connections: dict[str, Any], saves_each: bool) -> dict[str, Any]:
    settings = {"executionOrder": "v1", "saveExecutionProgress": saves_each, "saveDataSuccessExecution": "all"}
    return {"id": name, "name": name, "active": True, "nodes": nodes, "connections": connections, "settings": settings}


def _chain(length: int, saves_each: bool) -> dict[str, Any]:
    name = f"chain{length}"
    steps = [f"step{number}" for number in range(length)]
    nodes = [_hook(name, "lastNode"), *map(_step, steps)]
    return _workflow(name, nodes, _in_a_row(HOOK, *steps), saves_each)


def _loop(saves_each: bool) -> dict[str, Any]:
    nodes = [
        _hook("loop", "lastNode"),
        _node("items", "splitOut", 1, fieldToSplitOut="body.items", options={}),
        _node("each", "splitInBatches", 3, batchSize=1, options={}),
        _step("step"),
        _node("end", "limit", 1, maxItems=1),
    ]
    turns = {"each": {"main": [_to("end"), _to("step")]}, "step": {"main": [_to("each")]}}
    return _workflow("loop", nodes, _in_a_row(HOOK, "items", "each") | turns, saves_each)


def _sleeper(saves_each: bool) -> dict[str, Any]:
    nodes = [_hook("sleeper", "onReceived"), _node(WAIT, "wait", 1.1, resume="timeInterval", amount=30, unit="days")]
    return _workflow("sleeper", nodes, _in_a_row(HOOK, WAIT), saves_each)
