"""Cases that stand as plays in the tables of the rules: losers, what arrives at a `try`, and all containers and departures."""

from __future__ import annotations

import re
from typing import Any

from cases import CASES, Case
from plays import definition, perform, table
from recording import Recording

TABLES = ("table_19", "table_37", "golden")


def _case(row: dict[str, Any]) -> Case:
    def play() -> Recording:
        recording = Recording(definition(row))
        perform(recording, row["play"])
        return recording

    return play


def _name(name: str, row: dict[str, Any]) -> str:
    """`table_37`, `an error in the body …` → `table-37-an-error-in-the-body`."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{name} {row['row']}".lower()).strip("-")
    return words.removeprefix("golden-")


CASES.update({_name(name, row): _case(row) for name in TABLES for row in table(name)})
