"""The closed set: one module per control-flow or pure node, each with its SPEC and its `enter`; found here by type."""

from __future__ import annotations

from typing import Any

from perdure.definition.spec import NodeSpec
from perdure.engine.elements import (
    condition,
    delay,
    emit,
    fail,
    filter,  # noqa: A004 - the node's name
    get_variable,
    group,
    log,
    map,  # noqa: A004 - the node's name
    merge,
    reduce,
    return_,
    set_variable,
    sort,
    split,
    switch,
    transform,
    validate,
    wait_for_signal,
)

ELEMENTS: dict[str, Any] = {
    module.SPEC.name: module
    for module in (
        condition, delay, emit, fail, filter, get_variable, group, log, map, merge, reduce, return_, set_variable, sort, split,
        switch, transform, validate, wait_for_signal,
    )
}  # fmt: skip
"""Node type → its module."""

SPECS: dict[str, NodeSpec] = {name: module.SPEC for name, module in ELEMENTS.items()}
"""Node type → what it says of itself; the schema of its own keys is the format's (`definition.keys_schema`)."""
