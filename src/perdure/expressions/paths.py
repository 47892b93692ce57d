"""Reading a member of a member: `a.b[0].c`, in expressions and in the path strings of `get`, `pluck` and their kin."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from perdure.expressions.errors import ExpressionError, did_you_mean
from perdure.expressions.values import describe, joined

Key = str | int

PATH_STEPS_MAX = 64
"""Steps of one path string."""
_PATH_LENGTH_MAX = 1_000

_STEP = re.compile(
    r"\.?([A-Za-z_$@][A-Za-z0-9_$@-]*)"
    r"|\[(-?\d{1,9})\]"
    r'|\["([^"\]]*)"\]'
    r"|\['([^'\]]*)'\]"
)


def parse_path(path: str) -> tuple[Key, ...]:
    """The keys of `a.b[0]["c d"]`: names as str, positions as int. Raises ExpressionError `expression.value`."""
    if len(path) > _PATH_LENGTH_MAX:
        raise ExpressionError(
            "expression.value", f"Expected a path of at most {_PATH_LENGTH_MAX:,} characters, but it is longer.", "Shorten it."
        )
    return _parsed(path)


@lru_cache(maxsize=1024)
def _parsed(path: str) -> tuple[Key, ...]:
    keys: list[Key] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None or len(keys) == PATH_STEPS_MAX or (match.group().startswith(".") and not keys):
            raise ExpressionError(
                "expression.value",
                f"Expected a path such as a.b[0].c, but got {path[:60]!r}.",
                'Other names go into brackets: `["first name"]`.',
            )
        name, index, double, single = match.groups()
        if name is not None:
            if keys and not match.group().startswith("."):
                raise ExpressionError("expression.value", f"Expected a dot before {name!r} in {path[:60]!r}.", "Add it.")
            keys.append(name)
        elif index is not None:
            keys.append(int(index))
        else:
            keys.append(double if double is not None else single)
        position = match.end()
    return tuple(keys)


def follow(value: Any, keys: tuple[Key, ...]) -> Any:
    """What `keys` lead to. Raises ExpressionError `expression.missing` or `expression.type`, naming the step."""
    for position, key in enumerate(keys):
        try:
            value = value[key]
        except (LookupError, TypeError):
            raise absent(value, key, path_text("…", keys[:position])) from None
    return value


def find(value: Any, keys: tuple[Key, ...], default: Any) -> Any:
    """What `keys` lead to, or `default` where anything on the way is missing or null."""
    for key in keys:
        kind = type(value)
        if kind is dict and type(key) is str:
            if key not in value:
                return default
            value = value[key]
        elif kind is list and type(key) is int:
            if not -len(value) <= key < len(value):
                return default
            value = value[key]
        else:
            return default
    return value


def path_text(root: str, keys: tuple[Key, ...]) -> str:
    """How the path is written, from `root` on."""
    for key in keys:
        root = joined(root, key)
    return root


def absent(value: Any, key: Key, where: str) -> ExpressionError:
    """Why `value[key]` failed, `where` being how `value` was reached."""
    if type(key) is str and len(key) > 100:
        key = key[:100] + "…"
    step = path_text("x", (key,))[1:]
    if value is None:
        return ExpressionError(
            "expression.missing",
            f"Expected an object at `{where}`, but it is null, so `{step}` cannot be read.",
            _soft(where, key, "null has no fields"),
        )
    if type(value) is dict and type(key) is str:
        near = did_you_mean(key, value)
        return ExpressionError(
            "expression.missing",
            f"Expected the key `{key}` in `{where}`, but it is not there.",
            f"{near} {_soft(where, key, '')}".strip(),
        )
    if type(value) in (list, str) and type(key) is int:
        return ExpressionError(
            "expression.missing",
            f"Expected position {key} in `{where}`, but it has {len(value)}.",
            f"Use `nth({where}, {key}, default)` where it may be missing.",
        )
    return ExpressionError(
        "expression.type",
        f"Expected {'an object' if type(key) is str else 'a list'} at `{where}`, but it is {describe(value)}.",
        "Read what is inside by name: `x.name`; a list by position: `x[0]`.",
    )


def _soft(where: str, key: Key, reason: str) -> str:
    root, _, rest = where.partition(".")
    if root in ("nodes", "state", "previous"):  # a family has no value of its own: the first member is what can be asked
        member, _, rest = rest.partition(".")
        root = f"{root}.{member}"
    path = f"{rest}.{key}" if rest else str(key)
    return f'Use `get({root}, "{path}", default)` where it may be missing{" (" + reason + ")" if reason else ""}.'
