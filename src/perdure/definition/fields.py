"""The kinds of fields a definition has: what each accepts, its role for checker and compiler, and its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from perdure.definition.values import Problem
from perdure.expressions import parse_duration
from perdure.ids import NODE_ID
from perdure.labels import POOL, read_labels

Sees = Literal["node", "item", "fold", "before", "after", "scope", "join", "event", "catch"]
"""Which names an expression sees: those of its node; also `item` and `index` (item) and `carry` (fold); a loop's own names
before an iteration (before) or with the body's nodes after one (after); any node of its
scope (scope), with `join`, with `event`, with `error` (catch)."""

RoleName = Literal["value", "condition", "cases", "fixed", "quorum", "carry", "reduce", "scope", "branches", "catch"]


@dataclass(slots=True, frozen=True)
class Role:
    """What a node's own key is for: a template, a condition, a fixed option, or scopes."""

    name: RoleName
    sees: Sees = "node"


class Strict(BaseModel):
    """A mapping of the format: unknown keys are errors, and nothing is converted behind the author's back."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


def is_expression(value: Any) -> bool:
    """Whether a value is a text with a `${ … }` part, whose literal form therefore cannot be judged."""
    return isinstance(value, str) and "${" in value and _OPENING.search(value) is not None


_OPENING = re.compile(r"(?<!\$)\$\{")  # `$${` is a literal `${`
_EXPRESSION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"\$\{"}
_CODE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?\Z|\*\Z")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%\Z")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_LAST = re.compile(r"last ([1-9][0-9]{0,8})\Z")


def percent(value: Any) -> float | None:
    """The number before the `%`, or None when the value is no percentage."""
    found = _PERCENT.match(value) if isinstance(value, str) else None
    return float(found.group(1)) if found else None


def _literal(check: Callable[[Any], None]) -> AfterValidator:
    """A validator for literals alone: expressions are judged when they have been evaluated."""

    def validate(value: Any) -> Any:
        if not is_expression(value):
            check(value)
        return value

    return AfterValidator(validate)


_read_duration = lru_cache(maxsize=1024)(parse_duration)  # the same few durations stand all over a definition


def _duration(value: Any) -> None:
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        if is_plain:
            _read_duration(value)
    except ValueError:
        is_plain = False
    if not is_plain:
        raise Problem("value.duration", f"Expected a duration like 10s, 5m, 2h, 3d or PT10S, but got {shown(value)}.")


def _keeping(value: Any) -> str | int | float:
    """How long something is kept: asked for when nothing can be computed any more, so it is written out."""
    try:
        if value != "forever":
            _duration(value)
    except Problem:
        message = f"Expected a duration like 12h or 30d that is written out, or forever, but got {shown(value)}."
        raise Problem("value.duration", message) from None
    kept: str | int | float = value
    return kept


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole_from(least: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not _is_whole(value) or value < least:
            raise Problem("value.range", f"Expected a whole number of at least {least}, but got {shown(value)}.")

    return check


def _need(value: Any) -> None:
    share = percent(value)
    if share is not None and not 0 < share <= 100:
        raise Problem("quorum.percent", f"Expected a percentage in (0, 100], but got {shown(value)}.")
    if _is_whole(value) and value < 1:
        raise Problem("quorum.zero", f"Expected a need of at least 1, but got {shown(value)}.")
    if share is None and not _is_whole(value) and value not in ("all", "any"):
        message = f"Expected all, any, a number, a percentage or an expression, but got {shown(value)}."
        raise Problem("value.choice", message)


def _tolerate(value: Any) -> None:
    share = percent(value)
    fits = 0 <= share <= 100 if share is not None else _is_whole(value) and value >= 0
    if not fits:
        message = f"Expected a number of failures or a percentage in [0, 100], but got {shown(value)}."
        raise Problem("value.range", message)


def _collect(value: Any) -> Any:
    if value in ("all", "count", "none", "reduce") or (isinstance(value, str) and _LAST.match(value)):
        return value
    raise Problem("value.choice", f"Expected all, last N, count, none or reduce, but got {shown(value)}.")


def _codes(value: Any) -> list[str]:
    for code in value:
        if not isinstance(code, str) or not _CODE.match(code):
            message = f"Expected an error code like http.404, http.* or a category, but got {shown(code)}."
            raise Problem("value.error_code", message)
    return list(value)


def _slug(value: Any) -> str:
    if not isinstance(value, str) or not _SLUG.match(value):
        raise Problem("value.name", f"Expected a name of letters, digits, `-`, `_` and `.`, but got {shown(value)}.")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NODE_ID.match(value):
        raise Problem("value.name", f"Expected a name like `line`, of letters, digits and `_`, but got {shown(value)}.")
    return value


def _labels(value: Any) -> Any:
    try:
        read_labels({POOL: value} if isinstance(value, str) else value)
    except ValueError as error:
        raise Problem("value.label", str(error)) from None
    return value


def absent(*, alias: str | None = None, description: str | None = None) -> Any:
    """The field of a key that may be left out and then means nothing; written out it must fit, and null does not."""
    return Field(None, alias=alias, description=description)


def one_or_list(value: Any) -> Any:
    """A single entry is a list of one."""
    return value if isinstance(value, list) else [value]


def shown(value: Any) -> str:
    """A value as it appears in a message, short."""
    text = repr(value) if isinstance(value, str) else _json(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _json(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, list(value)[:3])) or 'no keys'}"
    return f"a list of {len(value)}" if isinstance(value, list) else str(value)


def _or_expression(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, _EXPRESSION_SCHEMA]})


_DURATION_SCHEMA = {"type": ["string", "number"], "examples": ["10s", "5m", "2h", "3d", "PT10S"]}
_NEED_SCHEMA: dict[str, Any] = {
    "anyOf": [{"enum": ["all", "any"]}, {"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9.]+\s*%$"}]
}
_LABELS_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": ["string", "boolean", "integer"]}}]
}
_LIST_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Value = Annotated[Any, Role("value")]
"""Any value; texts may hold expressions."""
Condition = Annotated[Any, Role("condition"), WithJsonSchema({"type": ["string", "boolean"]})]
"""An expression that gives true or false."""
Duration = Annotated[Any, Role("value"), _literal(_duration), _or_expression(_DURATION_SCHEMA)]
Keeping = Annotated[Any, BeforeValidator(_keeping), Role("fixed"), WithJsonSchema(_DURATION_SCHEMA)]
Positive = Annotated[Any, Role("value"), _literal(_whole_from(1)), _or_expression({"type": "integer", "minimum": 1})]
Counted = Annotated[Any, Role("value"), _literal(_whole_from(0)), _or_expression({"type": "integer", "minimum": 0})]
Need = Annotated[Any, Role("quorum", "join"), _literal(_need), _or_expression(_NEED_SCHEMA)]
Tolerate = Annotated[Any, Role("quorum"), _literal(_tolerate), _or_expression({"type": ["integer", "string"]})]
Collect = Annotated[str, BeforeValidator(_collect), Role("fixed")]
Codes = Annotated[list[str], BeforeValidator(one_or_list), AfterValidator(_codes), Role("fixed"), WithJsonSchema(_LIST_SCHEMA)]
Texts = Annotated[list[str], BeforeValidator(one_or_list), Role("fixed"), WithJsonSchema(_LIST_SCHEMA)]
Slug = Annotated[str, BeforeValidator(_slug), Role("fixed")]
RunsOn = Annotated[Any, BeforeValidator(_labels), Role("fixed"), WithJsonSchema(_LABELS_SCHEMA)]
"""A pool's name, or labels; written out, since whoever looks for work must know them."""
Name = Annotated[str, BeforeValidator(_name), Role("fixed")]
Schema = Annotated[dict[str, Any] | bool, Role("fixed")]
"""A JSON Schema (2020-12), written out: it is compiled when the definition is saved."""
Priority = Annotated[int, Field(ge=1, le=5), Role("fixed")]
OnFailure = Annotated[Literal["cancel_siblings", "drain", "isolate", "collect", "ignore"], Role("fixed")]
Losers = Annotated[Literal["cancel", "drain", "detach"], Role("fixed")]
Counting = Annotated[Literal["success", "finished"] | None, Role("fixed"), WithJsonSchema({"enum": ["success", "finished"]})]
Ui = Annotated[dict[str, Any], Role("fixed")]
