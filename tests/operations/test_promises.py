"""What a definition promises and this release does not do is refused before anything starts, never ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.definition import check_document
from perdure.errors import Refused
from perdure.operations.definitions import refuse_what_cannot_run
from perdure.runtime.plans import catalog_of, works_for

HTTP = {"type": "http", "with": {"url": "http://127.0.0.1:9/"}}


@pytest.mark.parametrize(
    "keys,named",
    [
        ({"settings": {"concurrency": 3}}, "settings.concurrency"),
        ({"settings": {"error_workflow": "other"}}, "settings.error_workflow"),
        ({"vars": {"n": {"value": 0, "merge": "sum"}}}, "vars.n: `merge: sum`"),
        ({"nodes": {"a": {**HTTP, "cache": {"ttl": "1h"}}}}, "a: `cache`"),
        ({"nodes": {"a": {**HTTP, "runs_on": "gpu"}}}, "a: `runs_on`"),
        ({"nodes": {"a": {**HTTP, "lock": "key"}}}, "a: `lock`"),
        ({"nodes": {"a": {"type": "wait_for_signal", "signal": "s", "buffer": False}}}, "a: `buffer: false`"),
        ({"nodes": {"a": {"type": "repeat", "times": 2, "body": {"nodes": {"b": HTTP}}}}}, "a: `repeat`"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused_by_name(keys: dict[str, Any], named: str) -> None:
    """The checker accepts it, since the format knows it; starting it is refused with its place."""
    document = {"perdure": 1, "name": "w", "nodes": {"a": HTTP}, **keys}
    checked = check_document(document, catalog_of(works_for("")))
    assert checked.plan is not None, checked.faults
    with pytest.raises(Refused) as refused:
        refuse_what_cannot_run(checked.plan)
    assert refused.value.code == "node.not_runnable"
    assert named in refused.value.message
