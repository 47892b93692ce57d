"""All checks, in the order in which they run; each says which codes it finds."""

from __future__ import annotations

from perdure.definition.checks import (
    edges,
    leaving,
    loops,
    names,
    params,
    policies,
    quorums,
    reach,
    shape,
    triggers,
    variables,
)
from perdure.definition.checks.subject import Check

_THEMES = (shape, edges, reach, names, quorums, loops, leaving, variables, policies, params, triggers)

ALL_CHECKS: tuple[Check, ...] = tuple(check for theme in _THEMES for check in theme.CHECKS)
