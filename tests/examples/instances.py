"""Where recorded scientific workflows come from: the suite beside the checkout, and the instance that the examples bring."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCIENCE = ROOT / "examples" / "science"
SUITE = ROOT.parent / "shared" / "suites" / "wfinstances"
BUNDLED = "montage-300.wfformat.json"

# What `index.json` of the suite says of its instances, for the bundled one; counted from its file apart from the product.
BUNDLED_INDEX = {
    "tasks": 296,
    "edges": 740,
    "roots": 45,
    "sinks": 6,
    "sum_runtime_s": 72425.191,
    "critical_path_s": 3233.354,
}


@dataclass(frozen=True, slots=True)
class Instance:
    """A recorded workflow and what is known of it beforehand."""

    name: str
    document: dict[str, Any]
    index: dict[str, Any]


def names() -> list[str]:
    """The bundled instance, and where the suite is there its twelve: smallest first."""
    if not (SUITE / "index.json").is_file():
        return [BUNDLED]
    entries = json.loads((SUITE / "index.json").read_text(encoding="utf-8"))
    return [BUNDLED, *(entry["file"] for entry in sorted(entries, key=lambda entry: entry["tasks"]))]


def instance(name: str) -> Instance:
    """The instance of this name. Where the suite is missing, a warning says that only the bundled one was tried."""
    if name == BUNDLED:
        if not (SUITE / "index.json").is_file():
            warnings.warn(f"The suite of recorded workflows is not at {SUITE}: only {BUNDLED} was tried.", stacklevel=2)
        return Instance(name, json.loads((SCIENCE / name).read_text(encoding="utf-8")), BUNDLED_INDEX)
    entry = next(e for e in json.loads((SUITE / "index.json").read_text(encoding="utf-8")) if e["file"] == name)
    path = SUITE / ("raw" if entry["raw"] else "compact") / name
    return Instance(name, json.loads(path.read_text(encoding="utf-8")), entry)
