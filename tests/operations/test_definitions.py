"""Definitions: files are read with all their faults, and whatever is saved can be run by this release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.definition import closed_types
from perdure.engine.elements import ELEMENTS
from perdure.errors import DefinitionRefused, Refused
from perdure.operations import definitions
from perdure.operations.definitions import DEFINITION_BYTES_MAX, NAMED_MAX, read_file
from perdure.testing.world import Process, World, act, workflow_of

INNER = {"nodes": {"inside": act()}}
NOT_RUN: dict[str, dict[str, Any]] = {
    "loop": {"n": {"type": "loop", "over": [1], "body": INNER}},
    "while": {"n": {"type": "while", "condition": "${ false }", "body": INNER}},
    "repeat": {"n": {"type": "repeat", "times": 2, "body": INNER}},
    "parallel": {"n": {"type": "parallel", "branches": {"left": INNER, "right": {"nodes": {"other": act()}}}}},
    "join": {"a": act(), "n": {"type": "join", "after": "a"}},
    "try": {"n": {"type": "try", "body": INNER, "finally": {"nodes": {"last": act()}}}},
    "subworkflow": {"n": {"type": "subworkflow", "workflow": "other"}},
    "cancel": {"a": act(), "n": {"type": "cancel", "target": "a"}},
    "wait_until": {"n": {"type": "wait_until", "time": "2030-01-01T00:00:00Z"}},
}


def start(document: dict[str, Any]) -> World:
    """A world in which somebody has started this."""
    world = World()

    async def main(process: Process) -> None:
        await process.start(world.read(document))

    world.live(main)
    return world


@pytest.mark.parametrize("name", [name for name in NOT_RUN if name not in ELEMENTS])
def test_a_node_that_this_release_does_not_run_is_refused_before_anything_starts(name: str) -> None:
    """The definition is sound, the refusal names node and type, and neither an execution nor the definition is kept."""
    world = World()

    async def main(process: Process) -> None:
        read = world.read(workflow_of(NOT_RUN[name]))
        with pytest.raises(Refused, match=f"^n: `{name}` cannot be run by this release.$") as refused:
            await process.start(read)
        assert refused.value.code == "node.not_runnable"
        assert await process.store.definitions("w") == []

    world.live(main)
    assert world.rows() == []


def test_only_types_of_the_format_without_an_element_are_refused() -> None:
    """What has an element is run, and so is everybody's own work: the test above does not become empty unnoticed."""
    assert set(NOT_RUN) <= set(closed_types())
    start(workflow_of({"a": act(), "b": {"type": "condition", "if": True, "after": "a"}, "c": {"type": "delay", "for": "1s"}}))


def test_again_edges_and_locks_are_refused() -> None:
    """To pass over them would be another workflow than the one that was written."""
    again = {
        "ask": act(after={"from": "good.false", "again": True, "max_visits": 2}),
        "good": {"type": "condition", "if": True, "after": "ask"},
    }
    with pytest.raises(Refused, match="good: `again` edges cannot be taken by this release"):
        start(workflow_of(again))
    with pytest.raises(Refused, match="a: `lock` cannot be held by this release"):
        start(workflow_of({"a": act(node={"lock": "mine"})}))


def test_every_node_that_cannot_be_run_is_named_up_to_a_limit() -> None:
    """All at once, as the checker does it; after ten the rest is counted. What stands inside one of them is not named again."""
    many = {
        f"n{number:02}": {**NOT_RUN["loop"]["n"], "body": {"nodes": {f"i{number}": act()}}} for number in range(NAMED_MAX + 2)
    }
    with pytest.raises(Refused) as refused:
        start(workflow_of(many))
    lines = refused.value.message.splitlines()
    assert len(lines) == NAMED_MAX + 1
    assert lines[0].startswith("n00: ")
    assert lines[-1] == "… and 2 more"


def test_a_disabled_node_is_no_obstacle() -> None:
    """It is drawn, and never run."""
    world = start(workflow_of({"a": {**NOT_RUN["loop"]["n"], "disabled": True}, "b": act()}))
    assert len(world.rows()) == 1


def test_a_definition_is_saved_once_under_its_digest() -> None:
    """The same document twice is one definition; its plan is that of the order that was saved first."""
    world = World()

    async def main(process: Process) -> None:
        first = world.read(workflow_of({"a": act(), "b": act()}))
        second = world.read(workflow_of({"b": act(), "a": act()}))
        for read in (first, second, first):
            loaded = await definitions.save(process.store, process.home.plans, world.clock, read)
            assert [node.id for node in loaded.plan.root.nodes] == ["a", "b"]
        assert len(await process.store.definitions("w")) == 1

    world.live(main)


def test_a_file_with_faults_is_read_and_has_no_plan(tmp_path: Path) -> None:
    """The faults are in the result, all of them; asking for the plan raises them."""
    file = tmp_path / "w.yaml"
    file.write_text("perdure: 1\nname: w\nnodes:\n  a: {type: lgo}\n  b: {type: fial}\n")
    read = read_file(file)
    assert [fault.code for fault in read.checked.errors] == ["type.unknown", "type.unknown"]
    with pytest.raises(DefinitionRefused, match=r"nodes\.a\.type: .* \(and 1 more\)"):
        _ = read.plan


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, or larger than any definition needs to be."""
    with pytest.raises(Refused, match="No such file or directory"):
        read_file(tmp_path / "gone.yaml")
    with pytest.raises(Refused, match="Is a directory"):
        read_file(tmp_path)
    with (tmp_path / "large.yaml").open("wb") as large:
        large.truncate(DEFINITION_BYTES_MAX + 1)
    with pytest.raises(Refused, match="is larger than 16 MB"):
        read_file(tmp_path / "large.yaml")


def test_the_node_types_beside_a_definition_are_its_own(tmp_path: Path) -> None:
    """`nodes.py` in the same folder is found; a file that is named is found too."""
    (tmp_path / "nodes.py").write_text(
        'from perdure import node\n\n\n@node("near.by")\ndef near() -> int:\n    """One."""\n    return 1\n'
    )
    (tmp_path / "w.yaml").write_text("perdure: 1\nname: w\nnodes:\n  a: {type: near.by}\n")
    assert read_file(tmp_path / "w.yaml").plan.lock == {"near.by": 1}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "w.yaml").write_text((tmp_path / "w.yaml").read_text())
    assert read_file(elsewhere / "w.yaml").checked.errors[0].code == "type.unknown"
    assert read_file(elsewhere / "w.yaml", node_files=(str(tmp_path / "nodes.py"),)).plan.lock == {"near.by": 1}
