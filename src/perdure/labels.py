"""Labels: what a worker says of itself (`gpu=true`), and what a node asks of the worker that carries it out (`runs_on`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

POOL = "pool"
"""The label that a pool by its name stands for: `runs_on: batch` is `runs_on: {pool: batch}`."""

LABELS_MAX = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}\Z", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}\Z", re.ASCII)

Labels = Mapping[str, str]
"""Values by name."""


def read_labels(given: Any) -> dict[str, str]:
    """Labels from a mapping whose values are texts, whole numbers or truth values. Raises ValueError with a sentence."""
    if not isinstance(given, Mapping):
        raise ValueError(f"Expected labels such as {{gpu: true}}, but got {given!r}.")
    if len(given) > LABELS_MAX:
        raise ValueError(f"Expected at most {LABELS_MAX} labels, but got {len(given)}.")
    found = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise ValueError(f"Expected a label's name of up to 63 letters, digits, `.`, `_`, `-` and `/`, but got {name!r}.")
        text = _text(value)
        if not _VALUE.match(text):
            raise ValueError(
                f"Expected a value of up to 128 letters, digits, `.`, `_`, `-`, `:`, `+` and `/` for the label {name}, "
                f"but got {value!r}."
            )
        found[name] = text
    return dict(sorted(found.items()))


def labels_from(text: str) -> dict[str, str]:
    """Labels from `gpu=true,region=eu`; from an empty text none. Raises ValueError with a sentence."""
    found: dict[str, str] = {}
    for part in (each.strip() for each in text.split(",") if each.strip()):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals:
            raise ValueError(f"Expected labels such as gpu=true,region=eu, but got {part!r}, which has no value.")
        if name in found:
            raise ValueError(f"Expected each label once, but {name} is given twice.")
        found[name] = value
    return read_labels(found)


def labels_text(labels: Labels) -> str:
    """`gpu=true,region=eu`: the one text of these labels, in the order of their names; of none it is empty."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def worker_with(text: str) -> str:
    """`worker with gpu=true`, or just `worker` where nothing is asked for."""
    return f"worker with {text}" if text else "worker"


def satisfies(labels: Labels, needs: Labels) -> bool:
    """Whether a worker with `labels` has all that are needed."""
    return all(labels.get(name) == value for name, value in needs.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value if isinstance(value, str) else ""
