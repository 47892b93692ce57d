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
        ({"settings": {"rate": {"limit": 3, "per": "1m"}}}, "settings.rate"),
        ({"settings": {"queue_max": 3}}, "settings.queue_max"),
        ({"settings": {"budget": {"cost": 3}}}, "settings.budget"),
        ({"settings": {"payload_max": 1_000}}, "settings.payload_max"),
        ({"settings": {"log_level": "debug"}}, "settings.log_level"),
        ({"nodes": {"a": {**HTTP, "cache": {"ttl": "1h"}}}}, "a: `cache`"),
        ({"nodes": {"a": {"type": "human"}}}, "a: `human`"),
        ({"nodes": {"a": {"type": "repeat", "times": 2, "body": {"nodes": {"b": {"type": "human"}}}}}}, "a.body.b: `human`"),
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


@pytest.mark.parametrize(
    "keys",
    [
        {"settings": {"error_workflow": "other", "timeout": "1h", "cleanup": "1m", "depth_max": 3}},
        {"settings": {"timeout": "1h", "on_timeout": "retry", "retry": {"attempts": 2}}},
        {"settings": {"retention": "30d"}},
        {"vars": {"n": {"value": 0, "merge": "sum"}}},
        {"nodes": {"a": {**HTTP, "lock": "key"}}},
        {"nodes": {"a": {**HTTP, "runs_on": "gpu"}}},
        {"nodes": {"a": {"type": "wait_for_signal", "signal": "s", "buffer": False}}},
        {"nodes": {"a": {"type": "repeat", "times": 2, "body": {"nodes": {"b": HTTP}}}}},
        {"nodes": {"a": {"type": "human", "disabled": True}, "b": HTTP}},
    ],
)
def test_what_can_be_kept_is_accepted(keys: dict[str, Any]) -> None:
    """Nothing is refused that this release does; a node that is disabled promises nothing."""
    checked = check_document({"perdure": 1, "name": "w", "nodes": {"a": HTTP}, **keys}, catalog_of(works_for("")))
    assert checked.plan is not None, checked.faults
    refuse_what_cannot_run(checked.plan)
