"""All node types of the format as one closed union; any other type is work, from the catalogue.

A key's role (template, condition, option, scope) is part of its type, so checker and compiler read it here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from perdure.definition import scope as _scope
from perdure.definition.fields import (
    Codes,
    Collect,
    Condition,
    Counted,
    Counting,
    Duration,
    Losers,
    Name,
    Need,
    OnFailure,
    Positive,
    Priority,
    Role,
    Schema,
    Strict,
    Tolerate,
    Value,
    absent,
    one_or_list,
)
from perdure.definition.scope import TAG, Body, Scope, Shared


# -- branches -------------------------------------------------------------------------------------------------------------
class ConditionNode(Shared):
    """Chooses between its ports `true` and `false`."""

    type: Literal["condition"]
    if_: Condition = Field(alias="if")


class SwitchNode(Shared):
    """Chooses by named conditions; each case is a port, `default` is the rest."""

    type: Literal["switch"]
    cases: Annotated[dict[str, Any], Role("cases")]
    match: Annotated[Literal["first", "all"], Role("fixed")] = "first"
    strict: Annotated[bool, Role("fixed")] = False


class ParallelNode(Shared):
    """Runs named branches at the same time and joins them."""

    type: Literal["parallel"]
    branches: Annotated[dict[str, Scope], Role("branches")]
    need: Need = "all"
    count: Counting = None
    losers: Losers = "cancel"
    concurrency: Positive = None
    on_failure: OnFailure = "cancel_siblings"


class JoinNode(Shared):
    """Waits for a quorum of its incoming edges."""

    type: Literal["join"]
    need: Need = "all"
    count: Counting = None
    losers: Losers = "cancel"


# -- loops ----------------------------------------------------------------------------------------------------------------
class Carry(Strict):
    """An accumulator: its first value, and the expression that gives the next after each iteration."""

    start: Value
    next: Annotated[Any, Role("value", "after")]


class Repeating(Shared):
    """What all loops share."""

    index: Name = "index"
    carry: Annotated[Carry, Role("carry")] = absent()
    collect: Collect = "all"
    reduce: Annotated[Carry, Role("reduce")] = absent()
    tolerate: Tolerate = 0
    need: Need = None
    count: Counting = None
    losers: Losers = "cancel"
    until: Annotated[Condition, Role("condition", "after")] = None
    on_failure: OnFailure = "cancel_siblings"
    max_iterations: Positive = None
    body: Body
    result: Annotated[Any, Role("value", "after")] = None


class LoopNode(Repeating):
    """Runs its body for each item."""

    type: Literal["loop"]
    over: Value
    as_: Name = Field("item", alias="as")
    concurrency: Positive = 1
    in_flight: Annotated[Literal["cancel", "drain"], Role("fixed")] = "cancel"
    open: Annotated[bool, Role("fixed")] = False


class WhileNode(Repeating):
    """Runs its body as long as a condition holds, judged first."""

    type: Literal["while"]
    condition: Annotated[Condition, Role("condition", "before")]


class RepeatNode(Repeating):
    """Runs its body a number of times, or until a condition holds."""

    type: Literal["repeat"]
    times: Counted = None
    concurrency: Positive = 1
    in_flight: Annotated[Literal["cancel", "drain"], Role("fixed")] = "cancel"


class BreakNode(Shared):
    """Ends the enclosing loop, or the named one."""

    type: Literal["break"]
    loop: Name = absent()


class ContinueNode(Shared):
    """Ends this iteration of the enclosing loop, or of the named one."""

    type: Literal["continue"]
    loop: Name = absent()


# -- leaving --------------------------------------------------------------------------------------------------------------
class ReturnNode(Shared):
    """Ends the workflow, or the nearest scope, with success and a value."""

    type: Literal["return"]
    value: Value = None
    from_: Annotated[Literal["workflow", "scope"], Role("fixed")] = Field("workflow", alias="from")


class ExitNode(Shared):
    """Ends the nearest scope with success and a value."""

    type: Literal["exit"]
    value: Value = None


class FailNode(Shared):
    """Fails, with a code that handlers can match."""

    type: Literal["fail"]
    code: Value
    title: Value = ""
    detail: Value = ""
    category: Annotated[Literal["business", "technical", "timeout", "cancelled", "validation"], Role("fixed")] = "business"
    data: Value = None
    retryable: Annotated[bool, Role("fixed")] = False


class Catch(Strict):
    """A handler of `try`: the first whose codes and condition match runs its body."""

    on: Codes = Field(default_factory=list)
    when: Condition = None
    as_: Name = Field("error", alias="as")
    body: Scope


class TryNode(Shared):
    """Runs a body; handles its errors; always runs `finally`."""

    type: Literal["try"]
    body: Body
    catch: Annotated[list[Catch], Role("catch"), BeforeValidator(one_or_list)] = Field(  # type: ignore[assignment]  # handlers, not ports
        default_factory=list
    )
    finally_: Body = absent(alias="finally")
    cleanup: Duration = None


class RollbackNode(Shared):
    """Runs the compensations registered in a node or container, last first."""

    type: Literal["rollback"]
    of: Name = absent()


class SubworkflowNode(Shared):
    """Runs another workflow, and waits for it unless told otherwise."""

    type: Literal["subworkflow"]
    workflow: Value
    input: Value = None
    wait: Annotated[bool, Role("fixed")] = True
    version: Annotated[str, Role("fixed")] = "pinned"
    on_cancel: Annotated[Literal["cancel", "abandon"], Role("fixed")] = "cancel"
    on_parent_close: Annotated[Literal["abandon", "cancel", "terminate"], Role("fixed")] = "abandon"
    priority: Priority = absent()


class CancelNode(Shared):
    """Withdraws another node or container of an enclosing scope."""

    type: Literal["cancel"]
    target: Name
    mode: Annotated[Literal["stop", "complete"], Role("fixed")] = "stop"


# -- data -----------------------------------------------------------------------------------------------------------------
ItemValue = Annotated[Any, Role("value", "item")]


class TransformNode(Shared):
    """Gives a new value."""

    type: Literal["transform"]
    to: Value


class MapNode(Shared):
    """Gives a new value for each item."""

    type: Literal["map"]
    over: Value
    to: ItemValue


class FilterNode(Shared):
    """Keeps the items for which a condition holds."""

    type: Literal["filter"]
    over: Value
    where: Annotated[Condition, Role("condition", "item")]


class ReduceNode(Shared):
    """Folds the items into one value."""

    type: Literal["reduce"]
    over: Value
    start: Value
    next: Annotated[Any, Role("value", "fold")]


class SortNode(Shared):
    """Orders the items by a value."""

    type: Literal["sort"]
    over: Value
    by: ItemValue = None
    descending: Annotated[bool, Role("fixed")] = False


class GroupNode(Shared):
    """Groups the items by a value."""

    type: Literal["group"]
    over: Value
    by: ItemValue


class MergeNode(Shared):
    """Brings several values together."""

    type: Literal["merge"]
    of: Value
    how: Annotated[Literal["shallow", "deep", "append", "zip"], Role("fixed")] = "shallow"


class SplitNode(Shared):
    """Cuts a list into pieces of a size, or into a number of parts."""

    type: Literal["split"]
    over: Value
    size: Positive = None
    parts: Positive = None


class ValidateNode(Shared):
    """Checks a value against a JSON Schema."""

    type: Literal["validate"]
    value: Value
    schema_: Schema = Field(alias="schema")


class SetVariableNode(Shared):
    """Writes variables."""

    type: Literal["set_variable"]
    set: Annotated[dict[str, Any], Role("value"), Field(min_length=1)]
    scope: Annotated[str, Role("fixed")] = absent()


class GetVariableNode(Shared):
    """Gives a variable's value."""

    type: Literal["get_variable"]
    name: Name


class LogNode(Shared):
    """Writes a line to the execution's log."""

    type: Literal["log"]
    message: Value
    level: Annotated[Literal["debug", "info", "warning", "error"], Role("fixed")] = "info"
    data: Value = None


class EmitNode(Shared):
    """Puts an event into the event log."""

    type: Literal["emit"]
    event: Value
    data: Value = None
    subject: Value = None


# -- waiting --------------------------------------------------------------------------------------------------------------
class DelayNode(Shared):
    """Waits for a while."""

    type: Literal["delay"]
    for_: Duration = Field(alias="for")


class WaitUntilNode(Shared):
    """Waits until a time."""

    type: Literal["wait_until"]
    time: Value


class WaitForConditionNode(Shared):
    """Waits until a condition holds."""

    type: Literal["wait_for_condition"]
    condition: Annotated[Condition, Role("condition", "scope")]
    every: Duration = None


class WaitForSignalNode(Shared):
    """Waits for a signal."""

    type: Literal["wait_for_signal"]
    signal: Value
    key: Value = None
    buffer: Annotated[bool, Role("fixed")] = True


class WaitForEventNode(Shared):
    """Waits for an event of the event log."""

    type: Literal["wait_for_event"]
    event: Value
    where: Annotated[Condition, Role("condition", "event")] = None
    since: Annotated[Literal["entry", "execution"], Role("fixed")] = "entry"


class HumanNode(Shared):
    """Asks people: to approve, to choose, to fill a form."""

    type: Literal["human"]
    form: Value = None
    kind: Annotated[Literal["approve", "choose", "form"] | None, Role("fixed")] = None
    title: Value = ""
    description: Value = None
    assign: Value = None
    policy: Value = "any"
    choices: Value = None
    data: Value = None
    show: Value = None
    schema_: Schema = absent(alias="schema")
    four_eyes: Value = False
    claim: Annotated[bool, Role("fixed")] = True
    delegate: Annotated[bool, Role("fixed")] = True
    remind: Value = None
    escalate: Value = None
    notify: Value = None
    priority: Priority = absent()
    due: Value = None


class WorkNode(Shared):
    """Work from the catalogue: `http`, `python`, `notify`, `sql`, or a node of your own; its parameters stand under `with`."""

    type: str
    with_: Any = Field(None, alias="with")


CLOSED: dict[str, type[Shared]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in (
        ConditionNode, SwitchNode, ParallelNode, JoinNode, LoopNode, WhileNode, RepeatNode, BreakNode, ContinueNode,
        ReturnNode, ExitNode, FailNode, TryNode, RollbackNode, SubworkflowNode, CancelNode,
        TransformNode, MapNode, FilterNode, ReduceNode, SortNode, GroupNode, MergeNode, SplitNode, ValidateNode,
        SetVariableNode, GetVariableNode, LogNode, EmitNode,
        DelayNode, WaitUntilNode, WaitForConditionNode, WaitForSignalNode, WaitForEventNode, HumanNode,
    )
}  # fmt: skip


def _node_tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return TAG + (kind if isinstance(kind, str) and kind in CLOSED else "work")


def _union() -> Any:
    members = [Annotated[model, Tag(TAG + name)] for name, model in CLOSED.items()]
    union: Any = Annotated[WorkNode, Tag(TAG + "work")]
    for member in members:
        union = union | member
    return Annotated[union, Discriminator(_node_tag)]


if TYPE_CHECKING:
    AnyNode = Any
else:
    AnyNode = _union()
"""Any node; the model calls it `Node`."""

# Scopes hold nodes and nodes hold scopes: the name that `scope.py` left open is filled in here, and every model finds it when
# it is built, on first use. Building each of them here would build the whole union once for each type, which takes a second.
_scope.Node = AnyNode
