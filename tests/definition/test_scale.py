"""A very large definition is read, checked and compiled like a small one."""

from __future__ import annotations

from perdure.definition import read_definition
from perdure.definition.spec import Catalog
from perdure.engine.elements import SPECS

NODES = 10_000


def test_a_definition_of_ten_thousand_nodes_is_checked_and_compiled() -> None:
    """Every node is in the plan with its edge, and a fault in the very last one is still found, with its line."""
    lines = ["perdure: 1", "name: large", "nodes:", "  n0: {type: transform, to: 0}"]
    lines += [
        f'  n{number}: {{type: transform, after: n{number - 1}, to: "${{ nodes.n{number - 1} + 1 }}"}}'
        for number in range(1, NODES)
    ]
    checked = read_definition("\n".join(lines), catalog=Catalog(SPECS))
    assert checked.plan is not None, checked.faults
    assert len(checked.plan.root.nodes) == NODES
    assert all(len(node.incoming) == 1 for node in checked.plan.root.nodes[1:])
    lines[-1] = lines[-1].replace(f"after: n{NODES - 2}", "after: nowhere")
    (fault, *_) = [
        each for each in read_definition("\n".join(lines), catalog=Catalog(SPECS)).faults if "nowhere" in each.message
    ]
    assert fault.line == NODES + 3
