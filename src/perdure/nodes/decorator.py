"""`@node`: a Python function becomes a node type. Type hints become the schema, the docstring the help text.

    @node("geo.distance", title="Distance between two places")
    async def distance(start: Place, end: Place, *, unit: Literal["km", "mi"] = "km") -> Distance: ...

An `async def` runs on the loop; a plain `def` runs in the pool of processes, where a timeout can kill it.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
import types
import typing
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from perdure.definition.spec import Example, NodeSpec
from perdure.nodes import docstring
from perdure.nodes.outcome import checked_output
from perdure.nodes.reference import DECORATED, WORK_ATTRIBUTE
from perdure.nodes.work import Context, Deferred, Failed, Work

Function = TypeVar("Function", bound=Callable[..., Any])

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
NAME_LENGTH_MAX = 63
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
_PLAIN = (str, int, bool)
PORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")


def node(
    name: str,
    *,
    title: str = "",
    version: int = 1,
    group: str = "other",
    ports: Sequence[str] = ("out",),
    repeatable: bool = False,
    blocking: bool | None = None,
    examples: Sequence[Example] = (),
) -> Callable[[Function], Function]:
    """Make the decorated function the node type `name`. The function stays callable as it is, for tests.

    `version`: the major version, which executions pin. `repeatable`: the same parameters always give the same result, so that
    it may be cached. `blocking`: overrides what `async` says; True sends it to the pool of processes.
    Raises TypeError where name, hints or signature cannot make a node; the sentence says which.
    """
    if not NAME.match(name) or len(name) > NAME_LENGTH_MAX:
        raise TypeError(f"Expected a node name such as geo.distance (small letters, digits, _ and dots), but got {name!r}.")
    if version < 1:
        raise TypeError(f"Expected a version from 1 on, but node {name!r} has {version}.")
    for port in ports:
        if not PORT.match(port) or port in {"error", "timeout"}:
            raise TypeError(f"Expected the name of a port other than error and timeout, but node {name!r} has {port!r}.")

    def decorate(function: Function) -> Function:
        call = _Call.of(name, function)
        help_text = docstring.read(function.__doc__)
        spec = NodeSpec(
            name=name,
            title=title or help_text.summary.rstrip(".") or name,
            kind="effect",
            group=group,
            version=version,
            summary=help_text.summary,
            description=help_text.description,
            params=call.params_schema(),
            output=call.output_schema(),
            ports=tuple(ports),
            examples=tuple(examples),
            repeatable=repeatable,
        )
        runs_async = inspect.iscoroutinefunction(function)
        in_pool = not runs_async if blocking is None else blocking
        if not runs_async and not in_pool:
            raise TypeError(f"Expected an async function for node {name!r}, since blocking=False would stop everything else.")
        work = Work(
            spec=spec,
            run=call.run_async if runs_async else call.run,
            blocking=in_pool,
            reference=f"{function.__module__}:{function.__qualname__}",
        )
        setattr(function, WORK_ATTRIBUTE, work)
        function.__globals__.setdefault(DECORATED, []).append(function)
        return function

    return decorate


def work_of(function: Callable[..., Any]) -> Work:
    """The Work of a decorated function. Raises TypeError for any other."""
    work = getattr(function, WORK_ATTRIBUTE, None)
    if not isinstance(work, Work):
        raise TypeError(f"Expected a function decorated with @node, but {function!r} is not.")
    return work


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A function's border: plain values in, checked and converted; plain values out."""

    name: str
    function: Callable[..., Any]
    fields: tuple[tuple[str, str], ...]  # of the model, each with its parameter's name, "" where it goes by its place
    context_parameter: str | None
    model: Any  # a pydantic model with one field per parameter; fields have names of their own, aliases are the parameters
    output: TypeAdapter[Any] | None  # None: no return hint, or Any
    finite: bool  # the output's type keeps NaN and infinity as they are, for the check of values to see
    plain: type | None  # the output's type, where its values are JSON already: there is nothing to convert

    @classmethod
    def of(cls, name: str, function: Callable[..., Any]) -> _Call:
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"Expected the type hints of node {name!r} at the top level of its module, but {error}.") from error
        parameters: dict[str, inspect.Parameter] = {}
        context_parameter = None
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"Expected named parameters only, but node {name!r} takes *{parameter.name}.")
            if _is_context(hints.get(parameter.name)):
                context_parameter = parameter.name
            else:
                parameters[parameter.name] = parameter
        model = _model(name, parameters, hints, docstring.read(function.__doc__).parameters)
        returned = hints.get("return", Any)
        finite = getattr(returned, "__pydantic_config__", {}).get("ser_json_inf_nan") == "constants"
        fields = tuple((f"p{number}", _keyword(each)) for number, each in enumerate(parameters.values()))
        plain = returned if returned in _PLAIN else None
        return cls(name, function, fields, context_parameter, model, _output_adapter(name, returned), finite, plain)

    def params_schema(self) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default that JSON cannot show is left out of the schema, which is right
            schema: dict[str, Any] = self.model.model_json_schema(by_alias=True, mode="validation")
        schema.pop("title", None)
        schema.pop("description", None)
        schema.setdefault("properties", {})
        for name, property_schema in schema["properties"].items():
            if property_schema.get("title", "").lower().replace(" ", "_") == name.lower():
                del property_schema["title"]  # only the name once more
        return schema

    def output_schema(self) -> dict[str, Any]:
        return {} if self.output is None else self.output.json_schema(mode="serialization")

    def run(self, params: dict[str, Any], context: Context) -> Any:
        positional, named = self._arguments(params, context)
        return self._plain(self.function(*positional, **named))

    async def run_async(self, params: dict[str, Any], context: Context) -> Any:
        positional, named = self._arguments(params, context)
        return self._plain(await self.function(*positional, **named))

    def _arguments(self, params: dict[str, Any], context: Context) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with. Defaults are the function's own: only what was given is passed."""
        try:
            checked = self.model.model_validate(params)
        except ValidationError as error:
            raise _invalid(self.name, error) from None
        values, given = checked.__dict__, checked.__pydantic_fields_set__
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for field, name in self.fields:
            if field not in given:
                continue
            if name:
                named[name] = values[field]
            else:
                positional.append(values[field])
        if self.context_parameter is not None:
            named[self.context_parameter] = context
        return positional, named

    def _plain(self, value: Any) -> Any:
        if type(value) is self.plain or isinstance(value, Deferred):
            return value
        try:
            if self.output is None:
                plain = _ANYTHING.dump_python(value, mode="json")
            else:
                plain = self.output.dump_python(value, mode="json", by_alias=True, warnings="error")
                if (
                    not self.finite
                    and _holds_null(plain)
                    and not _finite(self.output.dump_python(value, by_alias=True, warnings=False))
                ):
                    raise ValueError("it holds a number that is not finite, which JSON would turn into null")
        except (ValueError, RecursionError) as error:
            raise Failed(
                "output.invalid",
                f"Expected node {self.name} to return what its type hint says, as JSON values, but {_first_line(error)}",
                category="validation",
                retryable=False,
                ambiguous=True,
            ) from None
        return checked_output(plain)


def _keyword(parameter: inspect.Parameter) -> str:
    """What an argument for it is called, "" where it goes by its place."""
    return "" if parameter.kind is parameter.POSITIONAL_ONLY else parameter.name


def _is_context(hint: Any) -> bool:
    if isinstance(hint, type):
        return issubclass(hint, Context)
    return typing.get_origin(hint) in (Union, types.UnionType) and any(_is_context(part) for part in typing.get_args(hint))


def _model(name: str, parameters: dict[str, inspect.Parameter], hints: dict[str, Any], help_texts: dict[str, str]) -> Any:
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters.values()):
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is not parameter.empty:
            raise TypeError(
                f"Expected no default on a positional-only parameter, but node {name!r} has one on {parameter.name!r}."
            )
        field = Field(alias=parameter.name, description=help_texts.get(parameter.name))
        described = operator.getitem(Annotated, (hints.get(parameter.name, Any), field))
        fields[f"p{number}"] = (described, ... if parameter.default is parameter.empty else parameter.default)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return create_model(
                name.replace(".", "_"), __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
            )
    except PydanticUserError as error:
        raise TypeError(
            f"Expected hints that have a JSON form for the parameters of node {name!r}, but {_first_line(error)}"
        ) from error


def _output_adapter(name: str, hint: Any) -> TypeAdapter[Any] | None:
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not Deferred]
        hint = functools.reduce(operator.or_, rest) if rest else Any
    if hint is Any or hint is Deferred:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema(mode="serialization")
    except PydanticUserError as error:
        raise TypeError(f"Expected a return hint that has a JSON form for node {name!r}, but {_first_line(error)}") from error
    return adapter


def _holds_null(plain: Any) -> bool:
    """Whether there is a null in it, which is what pydantic's JSON holds in place of NaN and infinity."""
    if isinstance(plain, dict):
        return any(map(_holds_null, plain.values()))
    if isinstance(plain, list):
        return any(map(_holds_null, plain))
    return plain is None


def _finite(value: Any) -> bool:
    """Whether no float in it is NaN or infinite. Without this look, pydantic's JSON would silently hold null instead."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_finite, value))
    return True


def _invalid(name: str, error: ValidationError) -> Failed:
    """All wrong parameters at once, each with its path. Values are not repeated: they may be secret."""
    faults = [
        {"path": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors(include_url=False)
    ]
    shown = "; ".join(f"{fault['path'] or 'with'}: {fault['message']}" for fault in faults[:5])
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    return Failed(
        "params.invalid",
        f"Expected parameters that fit node {name}, but {shown}{more}",
        category="validation",
        retryable=False,
        data={"faults": faults},
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "For further information" not in line]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__
