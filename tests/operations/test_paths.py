"""Paths as people write them: what they name in a plan, whether or not it has come into being, and what was perhaps meant."""

from __future__ import annotations

from typing import Any

import pytest
from explained import scope

from perdure.errors import NotFound
from perdure.operations.paths import COMPARED_MAX, named, near, split_path
from perdure.testing.rehearsal import effects, plan_of

INNER: dict[str, Any] = {"type": "try", "body": scope(pay={}), "catch": {"body": scope(undo={})}, "finally": scope(note={})}
PLAN = plan_of(
    effects(
        fetch={},
        hotel={"compensate": scope(free={})},
        orders={"type": "loop", "over": "${ [1] }", "body": scope(charge={}, tried=INNER)},
        sides={"type": "parallel", "branches": {"left": scope(one={}), "right": scope(two={})}},
    )
)


@pytest.mark.parametrize(
    "path, frame, node, visit, scope_path",
    [
        ("fetch", "", "fetch", 0, ""),
        ("fetch#2", "", "fetch", 2, ""),
        ("orders", "", "orders", 0, ""),
        ("orders[3]", "orders[3]", None, 0, "orders.body"),
        ("orders[3].charge", "orders[3]", "charge", 0, "orders.body"),
        ("orders~2[3].charge#4", "orders~2[3]", "charge", 4, "orders.body"),
        ("orders[1].tried.body.pay", "orders[1].tried.body", "pay", 0, "orders.body.tried.body"),
        ("orders#2[1].tried~3.catch0.undo", "orders#2[1].tried~3.catch0", "undo", 0, "orders.body.tried.catch0"),
        ("orders[1].tried.finally", "orders[1].tried.finally", None, 0, "orders.body.tried.finally"),
        ("sides.left.one", "sides.left", "one", 0, "sides.left"),
        ("hotel.compensate.free", "hotel.compensate", "free", 0, "hotel.compensate"),
    ],
)
def test_a_path_names_a_node_or_a_frame(path: str, frame: str, node: str | None, visit: int, scope_path: str) -> None:
    """In the grammar of paths; without a number the visit is left open."""
    found = named(PLAN, path)
    assert (found.frame, found.node.id if found.node else None, found.visit, found.scope.path) == (
        frame, node, visit, scope_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    "path, holder",
    [
        ("fetch", None),
        ("orders[3].charge", ("", "orders", 1)),
        ("orders#2[3]", ("", "orders", 2)),
        ("orders[3].tried.body.pay", ("orders[3]", "tried", 1)),
    ],
)
def test_a_path_knows_the_container_around(path: str, holder: tuple[str, str, int] | None) -> None:
    """The instance whose frame it is in."""
    assert named(PLAN, path).holder == holder


@pytest.mark.parametrize(
    "path, remedy",
    [
        ("fecth", "Did you mean `fetch`?"),
        ("charge", "Did you mean `orders[0].charge`?"),
        ("orders.charge", "Did you mean `orders[0].charge`?"),
        ("orders.body.charge", "Did you mean `orders[0].charge`?"),
        ("orders[3].chrge", "Did you mean `orders[3].charge`"),
        ("orders[0].tried.pay", "Did you mean `orders[0].tried.body.pay`?"),
        ("sides[0].one", "Did you mean `sides.left.one`?"),
        ("fetch[0]", "Did you mean `fetch`?"),
        ("fetch.body", "Did you mean `fetch`"),
        ("orders[x].charge", "Did you mean `orders[0].charge`?"),
        ("orders[3].", "Did you mean"),
        ("fetch#0", "Did you mean `fetch`?"),
        ("", "There are `fetch`, `hotel`, `orders`, …."),
        ("zzz", "There are `fetch`, `hotel`, `orders`, …."),
        ("a b", "There are"),
    ],
)
def test_a_path_that_names_nothing_is_refused_with_what_was_perhaps_meant(path: str, remedy: str) -> None:
    """The same id elsewhere, else something near, else what there is."""
    with pytest.raises(NotFound, match="There is no node") as refused:
        named(PLAN, path)
    assert refused.value.remedy.startswith(remedy)


def test_a_scope_with_one_node_names_it() -> None:
    """In the singular."""
    with pytest.raises(NotFound) as refused:
        named(plan_of(effects(only={})), "zzz")
    assert refused.value.remedy == "There is `only`."


def test_near_names_are_bounded() -> None:
    """Of a hundred thousand names only some are compared: nobody waits for a suggestion."""
    names = [f"node_{number}" for number in range(COMPARED_MAX + 1)]
    assert near("node_1x", names).startswith("Did you mean `node_1")
    assert near(f"node_{COMPARED_MAX}", iter(names)) != ""
    assert near("orders[7].chrge", ["orders[3].charge"]) == "Did you mean `orders[3].charge`?"
    assert near("x" * 100_000, names) == ""


@pytest.mark.parametrize(
    "path, parts",
    [
        ("a", ("", "a", 1)),
        ("orders[3].poll#2", ("orders[3]", "poll", 2)),
        ("a#x", ("", "a", 1)),
        ("", ("", "", 1)),
    ],
)
def test_a_path_is_split_into_frame_node_and_visit(path: str, parts: tuple[str, str, int]) -> None:
    """As a message names an instance."""
    assert split_path(path) == parts
