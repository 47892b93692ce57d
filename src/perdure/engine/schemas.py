"""Values against JSON Schema: what does not fit, as path and sentence."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs


def faults_of(schema: Any, value: Any, *, limit: int = 20) -> list[dict[str, str]]:
    """What in `value` does not fit `schema`, at most `limit` faults, each `{path, message}`; empty when all fits.

    Raises ValueError for a schema that is none.
    """
    if schema is True or schema is None:
        return []
    validator = _validator(json.dumps(schema, sort_keys=True))
    return [
        {"path": ".".join(str(part) for part in error.instance_path), "message": error.message}
        for error in islice(validator.iter_errors(value), limit)
    ]


@lru_cache(512)
def _validator(schema: str) -> Any:
    # Linear-time regular expressions: a schema may come from an author nobody trusts.
    return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions())
