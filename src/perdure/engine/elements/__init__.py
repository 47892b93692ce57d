"""The closed set: one module per control-flow or pure node, each with its SPEC and its `enter`; found here by type."""

from __future__ import annotations

from typing import Any

from perdure.definition.spec import NodeSpec
from perdure.engine.elements import (
    break_,
    cancel,
    condition,
    continue_,
    delay,
    emit,
    exit_,
    fail,
    filter,  # noqa: A004 - the node's name
    get_variable,
    group,
    join,
    log,
    loop,
    map,  # noqa: A004 - the node's name
    merge,
    parallel,
    reduce,
    repeat,
    return_,
    rollback,
    set_variable,
    sort,
    split,
    subworkflow,
    switch,
    transform,
    try_,
    validate,
    wait_for_condition,
    wait_for_event,
    wait_for_signal,
    wait_until,
    while_,
)

ELEMENTS: dict[str, Any] = {
    module.SPEC.name: module
    for module in (
        break_, cancel, condition, continue_, delay, emit, exit_, fail, filter, get_variable, group, join, log, loop, map,
        merge, parallel, reduce, repeat, return_, rollback, set_variable, sort, split, subworkflow, switch, transform, try_,
        validate, wait_for_condition, wait_for_event, wait_for_signal, wait_until, while_,
    )
}  # fmt: skip
"""Node type → its module. `advance` is what a container does next, `closing` what it says of a frame that ends,
`evaluated` how it begins with what was evaluated outside the step, `due` what happens when its wait is over."""

SPECS: dict[str, NodeSpec] = {name: module.SPEC for name, module in ELEMENTS.items()}
"""Node type → what it says of itself; the schema of its own keys is the format's (`definition.keys_schema`)."""
