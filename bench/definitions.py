"""The workflows that the benchmarks run, as documents."""

from __future__ import annotations

from typing import Any

EFFECT: dict[str, Any] = {"type": "bench.effect", "timeout": "30s"}


def chain(length: int, size: int) -> dict[str, Any]:
    """`length` effects one after another, each told the size of its output and given the one before."""
    nodes: dict[str, Any] = {}
    before = ""
    for number in range(length):
        name = f"n{number}"
        nodes[name] = {**EFFECT, "with": {"size": size, "number": number}}
        if before:
            nodes[name]["after"] = before
        before = name
    return {"perdure": 1, "name": f"chain-{length}", "nodes": nodes, "output": "done"}


def fan_out(width: int, size: int) -> dict[str, Any]:
    """One start, `width` effects at the same time, and a node where they meet again."""
    nodes: dict[str, Any] = {"start": {"type": "transform", "to": "${ input }"}}
    branches = [f"n{number}" for number in range(width)]
    for number, name in enumerate(branches):
        nodes[name] = {**EFFECT, "after": "start", "with": {"size": size, "number": number}}
    nodes["meet"] = {"type": "transform", "after": branches, "to": "met"}
    return {"perdure": 1, "name": f"fan-{width}", "nodes": nodes, "output": "${ nodes.meet }"}


def loop(iterations: int, size: int) -> dict[str, Any]:
    """A loop whose body is one effect, one iteration after another."""
    body = {"nodes": {"n": {**EFFECT, "with": {"size": size, "number": "${ item }"}}}}
    each = {"type": "loop", "over": f"${{ range({iterations}) }}", "body": body, "collect": "count"}
    return {"perdure": 1, "name": f"loop-{iterations}", "nodes": {"each": each}, "output": "${ nodes.each.results }"}


def sleeper() -> dict[str, Any]:
    """One long durable wait."""
    return {"perdure": 1, "name": "sleeper", "nodes": {"sleep": {"type": "delay", "for": "30d"}}}


def stamped(length: int, ledger: str, seconds: float) -> dict[str, Any]:
    """Effects one after another that wait so long, and say in the ledger when they begin and end."""
    effect = {"type": "bench.stamped", "timeout": "30s", "with": {"ledger": ledger, "seconds": seconds}}
    nodes = {f"n{number}": {**effect, **({"after": f"n{number - 1}"} if number else {})} for number in range(length)}
    return {"perdure": 1, "name": "stamped", "nodes": nodes, "output": "done"}
