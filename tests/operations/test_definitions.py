"""Definitions: files are read with all their faults, and whatever is saved can be run by this release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.definition import NodeSpec, closed_types
from perdure.definition.plan import Plan
from perdure.engine.elements import ELEMENTS
from perdure.errors import DefinitionRefused, NotFound, Refused
from perdure.nodes.work import Work
from perdure.operations import definitions
from perdure.operations.definitions import DEFINITION_BYTES_MAX, NAMED_MAX, plan_to_read, read_file
from perdure.testing.world import Process, World, act, workflow_of

ASKS: dict[str, Any] = {"type": "human"}
"""A node that the format knows and this release does not run."""


def start(document: dict[str, Any]) -> World:
    """A world in which somebody has started this."""
    world = World()

    async def main(process: Process) -> None:
        await process.start(world.read(document))

    world.live(main)
    return world


def test_a_node_that_this_release_does_not_run_is_refused_before_anything_starts() -> None:
    """The definition is sound, the refusal names node and type, and neither an execution nor the definition is kept."""
    world = World()

    async def main(process: Process) -> None:
        read = world.read(workflow_of({"n": ASKS}))
        with pytest.raises(Refused, match="^n: `human` cannot be run by this release.$") as refused:
            await process.start(read)
        assert refused.value.code == "node.not_runnable"
        assert await process.store.definitions("w") == []

    world.live(main)
    assert world.rows() == []


def test_only_types_of_the_format_without_an_element_are_refused() -> None:
    """What has an element is run, and so is everybody's own work."""
    assert set(closed_types()) - ELEMENTS.keys() == {"human"}
    start(workflow_of({"a": act(), "b": {"type": "condition", "if": True, "after": "a"}, "c": {"type": "delay", "for": "1s"}}))


def test_every_node_that_cannot_be_run_is_named_up_to_a_limit() -> None:
    """All at once, as the checker does it, wherever they stand; after ten the rest is counted."""
    inside = {"nodes": {f"n{number:02}": ASKS for number in range(NAMED_MAX + 1)}}
    many = {"first": ASKS, "each": {"type": "loop", "over": [1], "body": inside}}
    with pytest.raises(Refused) as refused:
        start(workflow_of(many))
    lines = refused.value.message.splitlines()
    assert len(lines) == NAMED_MAX + 1
    assert [line.partition(": ")[0] for line in lines[:2]] == ["first", "each.body.n00"]
    assert lines[-1] == "… and 2 more"


def test_a_disabled_node_is_no_obstacle() -> None:
    """It is drawn, and never run."""
    world = start(workflow_of({"a": {**ASKS, "disabled": True}, "b": act()}))
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


# -- plans for those who only read them ------------------------------------------------------------------------------------


PORTED = NodeSpec(name="test.ported", title="Leaves by its own ports", kind="effect", ports=("small", "large"))


def to_read(document: dict[str, Any], works: dict[str, Work]) -> Plan:
    """The plan of a saved definition, read where its node types are not known."""
    world = World(works=works)

    async def main(process: Process) -> Plan:
        loaded = await definitions.save(process.store, process.home.plans, world.clock, world.read(document))
        return await plan_to_read(process.store, bytes.fromhex(loaded.plan.digest))

    return world.live(main)


def test_a_plan_is_read_without_the_code_of_its_nodes() -> None:
    """Unknown types stand for themselves, with the ports by which the definition leaves them, at any depth."""
    work = Work(spec=PORTED, run=_never, blocking=False, reference="test:never")
    sizes = {
        "size": {"type": "test.ported", "catch": [{"on": "x.y", "to": "missing"}]},
        "pack": act("size.small"),
        "ship": act(["size.large", "size.missing"]),
    }
    document = workflow_of({"each": {"type": "loop", "over": [1], "body": {"nodes": sizes}}})
    for each in (document, workflow_of(sizes)):
        plan = to_read(each, {PORTED.name: work})
        scope = plan.scopes["each.body" if each is document else ""]
        assert scope.nodes[scope.number["size"]].spec.ports == ("out", "small", "large")
        assert [edge.port for edge in scope.nodes[scope.number["ship"]].incoming] == ["large", "missing"]
        assert plan.digest == World(works={PORTED.name: work}).read(each).plan.digest


async def _never(params: Any, context: Any) -> None:
    raise AssertionError("a plan is read without running anything")


def test_a_plan_whose_definition_is_gone_is_not_found() -> None:
    """It says which one, and what may have happened."""
    with pytest.raises(NotFound, match="The store has no definition 000000000000"):
        World().look(lambda store: plan_to_read(store, bytes(32)))


# -- files that many starts name -------------------------------------------------------------------------------------------


def test_the_file_of_a_pinned_sub_workflow_is_read_again_only_when_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every start pins what lies beside the definition; the file as it was costs nothing, the file as it is now counts."""
    child = tmp_path / "child.yaml"
    child.write_text('perdure: 1\nname: child\nnodes:\n  a: {type: transform, to: old}\noutput: "${ nodes.a }"\n')
    (tmp_path / "w.yaml").write_text(
        'perdure: 1\nname: w\nnodes:\n  sub: {type: subworkflow, workflow: child}\noutput: "${ nodes.sub }"\n'
    )
    reads: list[Path] = []

    def counted(path: Path) -> definitions.Read:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(definitions, "read_file", counted)
    world = World()

    async def main(process: Process) -> list[Any]:
        parent = read_file(tmp_path / "w.yaml")
        outputs = [(await process.result(await process.start(parent))).output for _ in range(3)]
        child.write_text(child.read_text().replace("old", "newer"))
        return [*outputs, (await process.result(await process.start(parent))).output]

    assert world.live(main) == ["old", "old", "old", "newer"]
    assert reads == [child, child]
