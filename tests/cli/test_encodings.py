"""What the command line writes stays readable, and JSON stays JSON, whatever the texts and whatever stdout can take."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command_line import Perdure

TEXT = {"a": {"type": "transform", "to": "${ input.text }"}}


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\u2029"])
def test_no_character_of_a_value_breaks_a_line_of_json(perdure: Perdure, character: str) -> None:
    """Python and older JavaScript end a line at these three: they are escaped, and the value is the same."""
    text = f"one{character}two"
    finished = perdure.run(TEXT, "--input", json.dumps({"text": text}))
    assert character not in finished.stdout
    assert finished.last["output"] == text
    assert perdure("show", finished.last["execution"], "--json").lines[0]["facts"][1]["output"] == text


def said(perdure: Perdure, *arguments: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process whose stdout takes only this encoding."""
    return subprocess.run(
        [sys.executable, "-m", "perdure", *arguments], cwd=perdure.folder, capture_output=True, check=False, timeout=60,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip


def test_a_terminal_without_unicode_is_no_reason_to_break_off(perdure: Perdure) -> None:
    """Where stdout takes Latin-1 alone, JSON is written in ASCII; for people what cannot be shown is written as a number."""
    perdure.flow(TEXT)
    given = json.dumps({"text": "grün 🙂"})
    for_programs = said(perdure, "run", "flow.json", "--json", "--input", given, encoding="latin-1")
    assert for_programs.returncode == 0, for_programs
    assert json.loads(for_programs.stdout.splitlines()[-1].decode("ascii"))["output"] == "grün 🙂"
    for_people = said(perdure, "run", "flow.json", "--input", given, encoding="latin-1")
    assert for_people.returncode == 0, for_people
    assert "grün \\U0001f642" in for_people.stdout.decode("latin-1")


def test_a_file_whose_name_is_no_text(perdure: Perdure) -> None:
    """A name of bytes that are no UTF-8 is checked like any other; to run it, its path would have to be kept."""
    name = os.fsdecode(b"fl\xffow.json")
    (perdure.folder / name).write_text((perdure.folder / perdure.flow(TEXT)).read_text())
    checked = said(perdure, "check", name, encoding="utf-8")
    assert checked.returncode == 0, checked
    ran = perdure("run", name, "--input", '{"text": "x"}')
    assert (ran.code, ran.stdout) == (2, "")
    assert "Expected the path of a definition to be UTF-8" in ran.stderr
    assert perdure("list", "--json").lines == []
