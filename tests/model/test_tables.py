"""The tables of the rules, and the worked graphs, played on the reference interpreter."""

from __future__ import annotations

from typing import Any

import pytest
from interpreter import Model
from model_plays import Play, perform
from plays import definition, table

ROWS = {
    number: [row for row in table(f"table_{number:02}") if "by" not in row] for number in (4, 13, 15, 19, 37)
}  # fmt: skip
WORKED = table("worked_graphs")


def _cases(number: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", ROWS[number], ids=lambda row: row["row"])


def probed(row: dict[str, Any]) -> dict[str, Any]:
    """The row's graph with one effect after each port that it speaks of."""
    document = definition(row)
    for port in row["edges"]:
        document["nodes"][f"to_{port}"] = {"type": "test.effect", "after": f"a.{port}"}
    return {**document, "settings": {"on_failure": row.get("on_failure", "cancel_siblings")}}


def resolved_as(model: Model, port: str) -> str:
    """How the edge to a probe was resolved, seen from what became of the probe."""
    if model.state(f"to_{port}") == "skipped":
        return "dead" if model.instance(f"to_{port}").broken is None else "broken"
    assert model.state(f"to_{port}") == "running"
    return "live"


@_cases(4)
def test_rule_4_an_edge_is_resolved_by_its_source_and_port(row: dict[str, Any]) -> None:
    """Every row of table 4: live, dead and broken, as seen by the nodes behind the edges."""
    play = Play(probed(row))
    perform(play, row["play"])
    assert {port: resolved_as(play.model, port) for port in row["edges"]} == row["edges"]


@_cases(13)
def test_rule_13_what_an_unhandled_failure_does(row: dict[str, Any]) -> None:
    """Every row of table 13: the node's edges, the others in the frame, how the frame ends."""
    perform(Play(definition(row)), row["play"])


@_cases(15)
def test_rule_15_what_a_join_needs(row: dict[str, Any]) -> None:
    """Every row of table 15: when a join fires, when it cannot any more, and what it shields."""
    perform(Play(definition(row)), row["play"])


@_cases(19)
def test_rule_19_what_becomes_of_losers(row: dict[str, Any]) -> None:
    """Every row of table 19: regions, losers, and what arrives late."""
    perform(Play(definition(row)), row["play"])


@_cases(37)
def test_rule_37_what_arrives_at_a_try_and_when(row: dict[str, Any]) -> None:
    """Every row of table 37: an error, a cancel, times that pass, in body, catch and finally."""
    perform(Play(definition(row)), row["play"])


@pytest.mark.parametrize("row", WORKED, ids=lambda row: row["row"])
def test_worked_graphs(row: dict[str, Any]) -> None:
    """The worked graphs of the rules, as far as they are plays."""
    perform(Play(definition(row)), row["play"])
