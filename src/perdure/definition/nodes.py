"""The closed set of node types, each with the keys that are its own; any other type is work, from the catalogue.

A key's role (template, condition, option, scope) is part of its type, so checker and compiler read it here and nowhere else.
What every node may say besides is `Shared`. A node is judged by both, each apart: a model of both for each of the types would
take a second to build, and most workflows use five of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

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
from perdure.definition.scope import Body, Scope

_NEED = "How many must succeed: `all`, `any`, a number, a percentage, or a condition over `join`."
_COUNT = "What counts: `success`, or `finished`, which counts failed ones too."
_LOSERS = "What becomes of those that are not needed any more: `cancel`, `drain` or `detach`."
_ITEMS = "A list, or an object, whose items are `{key, value}`."
_IN_FLIGHT = "What a `break` does to the other iterations under way."


class Own(Strict):
    """What a node of one type may say: `type`, and its own keys. One that `Shared` has too means something of its own."""


# -- branches -------------------------------------------------------------------------------------------------------------
class ConditionNode(Own):
    """Chooses between its ports `true` and `false`."""

    type: Literal["condition"]
    if_: Condition = Field(alias="if", description="True leaves by `true`, false by `false`; anything else fails.")


class SwitchNode(Own):
    """Chooses by named conditions; each case is a port, `default` is the rest."""

    type: Literal["switch"]
    cases: Annotated[dict[str, Any], Role("cases")] = Field(
        description="Ports by name, each with its condition, asked in order."
    )
    match: Annotated[Literal["first", "all"], Role("fixed")] = Field(
        "first", description="Whether the first that holds is taken, or all that hold."
    )
    strict: Annotated[bool, Role("fixed")] = Field(
        False, description="Whether none that holds is the failure `switch.no_match`."
    )


class ParallelNode(Own):
    """Runs named branches at the same time and joins them."""

    type: Literal["parallel"]
    branches: Annotated[dict[str, Scope], Role("branches")] = Field(description="Graphs by name, which begin together.")
    need: Need = Field("all", description=_NEED)
    count: Counting = Field(None, description=_COUNT)
    losers: Losers = Field("cancel", description=_LOSERS)
    concurrency: Positive = Field(None, description="How many run at once. Left out: all.")
    on_failure: OnFailure = Field("cancel_siblings", description="What a failed branch does to the others.")


class JoinNode(Own):
    """Waits for a quorum of its incoming edges."""

    type: Literal["join"]
    need: Need = Field("all", description=_NEED)
    count: Counting = Field(None, description=_COUNT)
    losers: Losers = Field("cancel", description=_LOSERS)


# -- loops ----------------------------------------------------------------------------------------------------------------
class Carry(Strict):
    """An accumulator: its first value, and the expression that gives the next after each iteration."""

    start: Value
    next: Annotated[Any, Role("value", "after")]


class Repeating(Own):
    """What all loops share."""

    index: Name = Field("index", description="The name under which an iteration sees its number.")
    carry: Annotated[Carry, Role("carry")] = absent(
        description="A value that goes from iteration to iteration: `start`, and `next` after each."
    )
    collect: Collect = Field(
        "all", description="Which results are kept: `all`, `last N`, `count`, `none`, or one value (`reduce`)."
    )
    reduce: Annotated[Carry, Role("reduce")] = absent(description="The one value: `start`, and `next` for each result.")
    tolerate: Tolerate = Field(0, description="How many iterations may fail: a number, or a percentage of the items.")
    need: Need = Field(
        None, description="How many iterations are enough: `all`, `any`, a number, a percentage, or a condition over `join`."
    )
    count: Counting = Field(None, description=_COUNT)
    losers: Losers = Field("cancel", description=_LOSERS)
    until: Annotated[Condition, Role("condition", "after")] = Field(
        None, description="Ends the loop once it is true, judged after each iteration."
    )
    on_failure: OnFailure = Field("cancel_siblings", description="What a failed iteration does to the others.")
    max_iterations: Positive = Field(None, description="A guard: a loop that would go beyond it fails.")
    body: Body = Field(description="The graph of an iteration.")
    result: Annotated[Any, Role("value", "after")] = Field(
        None, description="The value of an iteration. Left out: the output of its graph."
    )


class LoopNode(Repeating):
    """Runs its body for each item."""

    type: Literal["loop"]
    over: Value = Field(description="A list, or an object, whose items are `{key, value}`; evaluated once.")
    as_: Name = Field("item", alias="as", description="The name under which an iteration sees its item.")
    concurrency: Positive = Field(1, description="How many iterations run at once.")
    in_flight: Annotated[Literal["cancel", "drain"], Role("fixed")] = Field("cancel", description=_IN_FLIGHT)
    open: Annotated[bool, Role("fixed")] = Field(
        False, description="Whether the signal `add` brings further items, until the signal `close`."
    )


class WhileNode(Repeating):
    """Runs its body as long as a condition holds, judged first."""

    type: Literal["while"]
    condition: Annotated[Condition, Role("condition", "before")] = Field(description="Judged before each iteration.")


class RepeatNode(Repeating):
    """Runs its body a number of times, or until a condition holds."""

    type: Literal["repeat"]
    times: Counted = Field(None, description="How many iterations there are, at most.")
    concurrency: Positive = Field(1, description="How many iterations run at once.")
    in_flight: Annotated[Literal["cancel", "drain"], Role("fixed")] = Field("cancel", description=_IN_FLIGHT)


class BreakNode(Own):
    """Ends the enclosing loop, or the named one."""

    type: Literal["break"]
    loop: Name = absent(description="Which loop it ends. Left out: the nearest.")


class ContinueNode(Own):
    """Ends this iteration of the enclosing loop, or of the named one."""

    type: Literal["continue"]
    loop: Name = absent(description="Of which loop it ends the iteration. Left out: the nearest.")


# -- leaving --------------------------------------------------------------------------------------------------------------
class ReturnNode(Own):
    """Ends the workflow, or the nearest scope, with success and a value."""

    type: Literal["return"]
    value: Value = Field(None, description="The output.")
    from_: Annotated[Literal["workflow", "scope"], Role("fixed")] = Field(
        "workflow", alias="from", description="What ends: the whole workflow, or the nearest scope."
    )


class ExitNode(Own):
    """Ends the nearest scope with success and a value."""

    type: Literal["exit"]
    value: Value = Field(None, description="The output of the scope.")


class FailNode(Own):
    """Fails, with a code that handlers can match."""

    type: Literal["fail"]
    title: Value = Field("", description="What went wrong, in a sentence.")
    code: Value = Field(description="A dotted word that handlers can match.")
    detail: Value = Field("", description="More about this time.")
    category: Annotated[Literal["business", "technical", "timeout", "cancelled", "validation"], Role("fixed")] = Field(
        "business", description="The kind of failure, which handlers and retries can match."
    )
    data: Value = Field(None, description="Any value that handlers may need.")
    retryable: Annotated[bool, Role("fixed")] = Field(False, description="Whether trying again could help.")


class Catch(Strict):
    """A handler of `try`: the first whose codes and condition match runs its body."""

    on: Codes = Field(default_factory=list)
    when: Condition = None
    as_: Name = Field("error", alias="as")
    body: Scope


class TryNode(Own):
    """Runs a body; handles its errors; always runs `finally`."""

    type: Literal["try"]
    catch: Annotated[list[Catch], Role("catch"), BeforeValidator(one_or_list)] = Field(
        default_factory=list, description="Handlers, of which the first that matches runs: `on` (codes), `when`, `as`, `body`."
    )
    body: Body = Field(description="The graph that may fail.")
    finally_: Body = absent(alias="finally", description="The graph that runs at the end, whatever happened.")
    cleanup: Duration = Field(
        None, description="How long cleaning up may take after the time of the `try` is over. Left out: `settings.cleanup`."
    )


class RollbackNode(Own):
    """Runs the compensations registered in a node or container, last first."""

    type: Literal["rollback"]
    of: Name = absent(description="The node or container to undo. Left out: the body of the `try` around.")


class SubworkflowNode(Own):
    """Runs another workflow, and waits for it unless told otherwise."""

    type: Literal["subworkflow"]
    workflow: Value = Field(description="The name of the workflow to run.")
    input: Value = Field(None, description="Its input.")
    wait: Annotated[bool, Role("fixed")] = Field(True, description="Whether the node waits for its end.")
    version: Annotated[Literal["pinned", "channel"], Role("fixed")] = Field(
        "pinned", description="`pinned`: as it was when this execution started; `channel`: the newest."
    )
    on_cancel: Annotated[Literal["cancel", "abandon"], Role("fixed")] = Field(
        "cancel", description="What becomes of the child when the node is cancelled."
    )
    on_parent_close: Annotated[Literal["abandon", "cancel", "terminate"], Role("fixed")] = Field(
        "abandon", description="What becomes of a child that is not waited for when this execution ends."
    )
    priority: Priority = absent(description="Its priority. Left out: that of this execution.")


class CancelNode(Own):
    """Withdraws another node or container of an enclosing scope."""

    type: Literal["cancel"]
    target: Name = Field(description="The node or container, of this scope or of one around it.")
    mode: Annotated[Literal["stop", "complete"], Role("fixed")] = Field(
        "stop", description="Whether it is withdrawn, or ends as a success with what it has."
    )


# -- data -----------------------------------------------------------------------------------------------------------------
ItemValue = Annotated[Any, Role("value", "item")]


class TransformNode(Own):
    """Gives a new value."""

    type: Literal["transform"]
    to: Value = Field(description="The value.")


class MapNode(Own):
    """Gives a new value for each item."""

    type: Literal["map"]
    over: Value = Field(description=_ITEMS)
    to: ItemValue = Field(description="The value for an item.")


class FilterNode(Own):
    """Keeps the items for which a condition holds."""

    type: Literal["filter"]
    over: Value = Field(description=_ITEMS)
    where: Annotated[Condition, Role("condition", "item")] = Field(description="Whether an item is kept.")


class ReduceNode(Own):
    """Folds the items into one value."""

    type: Literal["reduce"]
    over: Value = Field(description=_ITEMS)
    start: Value = Field(description="The value before the first item.")
    next: Annotated[Any, Role("value", "fold")] = Field(description="The value after an item.")


class SortNode(Own):
    """Orders the items by a value."""

    type: Literal["sort"]
    over: Value = Field(description="A list.")
    by: ItemValue = Field(None, description="What an item is ordered by. Left out: the item itself.")
    descending: Annotated[bool, Role("fixed")] = Field(False, description="Whether the greatest comes first.")


class GroupNode(Own):
    """Groups the items by a value."""

    type: Literal["group"]
    over: Value = Field(description="A list.")
    by: ItemValue = Field(description="The key of the group that an item belongs to.")


class MergeNode(Own):
    """Brings several values together."""

    type: Literal["merge"]
    of: Value = Field(description="The values; null ones are left out.")
    how: Annotated[Literal["shallow", "deep", "append", "zip"], Role("fixed")] = Field(
        "shallow", description="How they come together."
    )


class SplitNode(Own):
    """Cuts a list into pieces of a size, or into a number of parts."""

    type: Literal["split"]
    over: Value = Field(description="A list.")
    size: Positive = Field(None, description="How many items a piece has, at most.")
    parts: Positive = Field(None, description="How many pieces there are.")


class ValidateNode(Own):
    """Checks a value against a JSON Schema."""

    type: Literal["validate"]
    value: Value = Field(description="The value to judge, which is the output.")
    schema_: Schema = Field(alias="schema", description="What it must fit, as JSON Schema.")


class SetVariableNode(Own):
    """Writes variables."""

    type: Literal["set_variable"]
    set: Annotated[dict[str, Any], Role("value"), Field(min_length=1)] = Field(
        description="Variables by name, each with its new value."
    )
    scope: Annotated[str, Role("fixed")] = absent(
        description="Whose variables. Left out: of the nearest scope that declares them."
    )


class GetVariableNode(Own):
    """Gives a variable's value."""

    type: Literal["get_variable"]
    name: Name = Field(description="Which variable.")


class LogNode(Own):
    """Writes a line to the execution's log."""

    type: Literal["log"]
    message: Value = Field(description="What is logged.")
    level: Annotated[Literal["debug", "info", "warning", "error"], Role("fixed")] = Field(
        "info", description="How much it matters."
    )
    data: Value = Field(None, description="Any value beside the message.")


class EmitNode(Own):
    """Puts an event into the event log."""

    type: Literal["emit"]
    event: Value = Field(description="The type of the event.")
    data: Value = Field(None, description="What it says.")
    subject: Value = Field(None, description="What it is about.")


# -- waiting --------------------------------------------------------------------------------------------------------------
class DelayNode(Own):
    """Waits for a while."""

    type: Literal["delay"]
    for_: Duration = Field(alias="for", description="How long.")


class WaitUntilNode(Own):
    """Waits until a time."""

    type: Literal["wait_until"]
    time: Value = Field(description="The moment, with its offset: `2026-12-24T18:00:00+01:00`.")


class WaitForConditionNode(Own):
    """Waits until a condition holds."""

    type: Literal["wait_for_condition"]
    condition: Annotated[Condition, Role("condition", "scope")] = Field(
        description="May read any node of its scope, and variables."
    )
    every: Duration = Field(None, description="Judge it also in this interval.")


class WaitForSignalNode(Own):
    """Waits for a signal."""

    type: Literal["wait_for_signal"]
    signal: Value = Field(description="The name of the signal.")
    key: Value = Field(None, description="The key it must bear. Left out: none.")
    buffer: Annotated[bool, Role("fixed")] = Field(True, description="Whether a signal that came before is taken.")


class WaitForEventNode(Own):
    """Waits for an event of the event log."""

    type: Literal["wait_for_event"]
    event: Value = Field(description="The type of the event.")
    where: Annotated[Condition, Role("condition", "event")] = Field(None, description="Whether an `event` is the one.")
    since: Annotated[Literal["entry", "execution"], Role("fixed")] = Field(
        "entry", description="From when on events count: from the wait's beginning, or from the execution's."
    )


class HumanNode(Own):
    """Asks people: to approve, to choose, to fill a form."""

    type: Literal["human"]
    title: Value = ""
    form: Value = None
    kind: Annotated[Literal["approve", "choose", "form"] | None, Role("fixed")] = None
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


class WorkNode(Own):
    """Work from the catalogue: `http`, `python`, `notify`, `sql`, or a node of your own; its parameters stand under `with`."""

    type: str
    with_: Any = Field(None, alias="with")


CLOSED: dict[str, type[Own]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in (
        ConditionNode, SwitchNode, ParallelNode, JoinNode, LoopNode, WhileNode, RepeatNode, BreakNode, ContinueNode,
        ReturnNode, ExitNode, FailNode, TryNode, RollbackNode, SubworkflowNode, CancelNode,
        TransformNode, MapNode, FilterNode, ReduceNode, SortNode, GroupNode, MergeNode, SplitNode, ValidateNode,
        SetVariableNode, GetVariableNode, LogNode, EmitNode,
        DelayNode, WaitUntilNode, WaitForConditionNode, WaitForSignalNode, WaitForEventNode, HumanNode,
    )
}  # fmt: skip
