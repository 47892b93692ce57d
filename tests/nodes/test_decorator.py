"""`@node`: hints become the schema, the docstring the help, and the border is kept in both directions."""

from __future__ import annotations

import asyncio
import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from perdure.nodes import Context, Deferred, Failed, node
from perdure.nodes.decorator import work_of


@dataclass
class Place:
    """Where something is."""

    lat: float
    lon: float


class Distance(BaseModel):
    """How far it is."""

    value: float
    unit: str


class Colour(enum.Enum):
    """A choice."""

    RED = "red"


@node("geo.distance", title="Distance between two places", repeatable=True, group="geo")
async def distance(start: Place, end: Place, context: Context, *, unit: Literal["km", "mi"] = "km") -> Distance:
    """Measure how far it is.

    As the crow flies, on a flat earth.

    Args:
        start: Where it begins.
        end (Place): Where it ends,
            and no further.
        unit: What to count in.

    Returns:
        The distance.
    """
    return Distance(value=abs(end.lat - start.lat), unit=f"{unit}{context.attempt}")


def run(function: Callable[..., Any], params: dict[str, Any]) -> Any:
    """Call the node as the runtime does."""
    value = work_of(function).run(params, Context())
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


def code(function: Callable[..., Any], params: dict[str, Any]) -> str:
    """The code with which the node fails."""
    with pytest.raises(Failed) as raised:
        run(function, params)
    return raised.value.failure.code


def test_hints_and_docstring_make_the_spec() -> None:
    """Name, title, summary, description, parameters with their help and defaults, output: all from the function."""
    spec = work_of(distance).spec
    assert (spec.name, spec.title, spec.kind, spec.version, spec.group, spec.repeatable, spec.ports) == (
        "geo.distance", "Distance between two places", "effect", 1, "geo", True, ("out",),
    )  # fmt: skip
    assert (spec.summary, spec.description) == ("Measure how far it is.", "As the crow flies, on a flat earth.")
    properties = spec.params["properties"]
    assert list(properties) == ["start", "end", "unit"]
    assert spec.params["required"] == ["start", "end"]
    assert spec.params["additionalProperties"] is False
    assert properties["end"]["description"] == "Where it ends, and no further."
    assert properties["unit"] == {
        "default": "km", "description": "What to count in.", "enum": ["km", "mi"], "type": "string",
    }  # fmt: skip
    assert set(spec.output["properties"]) == {"value", "unit"}


def test_parameters_are_converted_and_the_output_is_plain() -> None:
    """Objects become what the hints say; what is returned becomes plain values; the context is handed in."""
    params = {"start": {"lat": 1, "lon": 2}, "end": {"lat": "3.5", "lon": 0}, "unit": "mi"}
    assert run(distance, params) == {"value": 2.5, "unit": "mi1"}


def test_the_function_stays_what_it_was() -> None:
    """Called directly it takes and gives Python objects, for tests."""
    assert asyncio.run(distance(Place(0, 0), Place(1, 0), Context())) == Distance(value=1, unit="km1")


@pytest.mark.parametrize(
    "params, paths",
    [
        ({}, ["end", "start"]),
        ({"start": {"lat": 1}, "end": {"lat": 1, "lon": 1}}, ["start.lon"]),
        ({"start": {"lat": 1, "lon": 1}, "end": {"lat": 1, "lon": 1}, "unit": "ells", "untis": 1}, ["unit", "untis"]),
        ({"start": {"lat": 1, "lon": 1}, "end": {"lat": 1, "lon": 1}, "context": {}}, ["context"]),
    ],
)
def test_wrong_parameters_fail_with_all_their_paths(params: dict[str, Any], paths: list[str]) -> None:
    """`params.invalid`, category validation, never retried, and without the values themselves."""
    with pytest.raises(Failed) as raised:
        run(distance, params)
    failure = raised.value.failure
    assert (failure.code, failure.category, failure.retryable) == ("params.invalid", "validation", False)
    assert sorted(fault["path"] for fault in failure.data["faults"]) == paths


def test_rich_types_cross_the_border_in_both_directions() -> None:
    """Dates, decimals, enums and sets come in as what they are and leave as JSON has them."""

    @node("sample.rich")
    def rich(day: datetime.date, price: Decimal, colour: Colour, tags: set[str]) -> dict[str, Any]:
        assert (type(day), type(price), type(colour), type(tags)) == (datetime.date, Decimal, Colour, set)
        return {"day": day, "price": price, "colour": colour, "tags": tags}

    params = {"day": "2024-02-29", "price": "1.10", "colour": "red", "tags": ["a"]}
    assert run(rich, params) == params


def test_names_that_models_use_themselves_are_free() -> None:
    """`json`, `schema`, `copy` and `model_config` are parameters like others."""

    @node("sample.names")
    def names(json: int, schema: int, copy: int, model_config: int) -> list[int]:
        return [json, schema, copy, model_config]

    assert run(names, {"json": 1, "schema": 2, "copy": 3, "model_config": 4}) == [1, 2, 3, 4]


def test_positional_only_parameters_are_given_by_name() -> None:
    """In a workflow everything has a name."""

    @node("sample.positional")
    def positional(a: int, /, b: int) -> int:
        return a - b

    assert run(positional, {"a": 5, "b": 3}) == 2


def test_constraints_are_kept_and_shown() -> None:
    """What `Annotated` says stands in the schema and is checked."""

    @node("sample.bound")
    def bound(count: Annotated[int, Field(ge=1)]) -> int:
        return count

    assert work_of(bound).spec.params["properties"]["count"]["minimum"] == 1
    assert code(bound, {"count": 0}) == "params.invalid"


@pytest.mark.parametrize(
    "hint, value",
    [
        (Any, 2**64),
        (Any, float("inf")),
        (Any, "\ud800"),
        (Any, object()),
        (float, float("nan")),
        (int, "three"),
        (list[Distance], [Distance(value=float("nan"), unit="km")]),
        (dict[str, float], {"a": float("-inf")}),
    ],
)
def test_what_no_journal_can_hold_is_no_output(hint: Any, value: Any) -> None:
    """Overflow, NaN, surrogates and values that are not what the hint says are `output.invalid`, never a silent null."""

    def give():  # type: ignore[no-untyped-def]
        return value

    give.__annotations__["return"] = hint
    assert code(node("sample.give")(give), {}) == "output.invalid"


def test_a_deferred_answer_passes_and_leaves_the_schema_alone() -> None:
    """`int | Deferred` is a node whose output is an integer, now or later."""

    @node("sample.later")
    def later(context: Context) -> int | Deferred:
        return context.defer()

    work = work_of(later)
    assert work.spec.output == {"type": "integer"}
    assert work.run({}, Context(token="t")) == Deferred("t")
    assert code(later, {}) == "node.cannot_defer"


def test_async_runs_on_the_loop_and_the_rest_in_processes() -> None:
    """`blocking` follows `async`, unless it is said otherwise."""

    async def on_loop() -> None: ...
    async def in_process() -> None: ...
    def plain() -> None: ...

    assert not work_of(node("a.b")(on_loop)).blocking
    assert work_of(node("a.c", blocking=True)(in_process)).blocking
    assert work_of(node("a.d")(plain)).blocking


def with_stars(*values: int) -> None: ...
def with_strange(value: threading.Lock) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the missing name is the case
def with_object(value: asyncio.AbstractEventLoop) -> None: ...
def returns_loop() -> asyncio.AbstractEventLoop: ...  # type: ignore[empty-body]
def plain_function() -> None: ...


@pytest.mark.parametrize(
    "name, options, function, sentence",
    [
        ("Geo", {}, plain_function, "a node name"),
        ("geo..x", {}, plain_function, "a node name"),
        ("x" * 64, {}, plain_function, "a node name"),
        ("a.b", {"version": 0}, plain_function, "a version"),
        ("a.b", {"ports": ("error",)}, plain_function, "a port"),
        ("a.b", {"blocking": False}, plain_function, "an async function"),
        ("a.b", {}, with_stars, "named parameters"),
        ("a.b", {}, with_strange, "type hints"),
        ("a.b", {}, with_object, "JSON form"),
        ("a.b", {}, returns_loop, "JSON form"),
    ],
)
def test_what_cannot_be_a_node_is_refused_with_a_sentence(
    name: str, options: dict[str, Any], function: Callable[..., Any], sentence: str
) -> None:
    """Names, versions, ports, signatures and hints are checked when the function is decorated."""
    with pytest.raises(TypeError, match=f"Expected .*{sentence}"):
        node(name, **options)(function)


def test_only_decorated_functions_have_work() -> None:
    """Asking any other says so."""
    with pytest.raises(TypeError, match="decorated"):
        work_of(plain_function)


def test_log_levels_are_known_words() -> None:
    """A misspelt level is an error where it is written."""
    with pytest.raises(ValueError, match="Expected a level"):
        Context().log("x", "warn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected a category"):
        Failed("a", "b", category="bussiness")  # type: ignore[arg-type]
