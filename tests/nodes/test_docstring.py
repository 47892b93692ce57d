"""Docstrings as help text, in the two ways they are commonly written."""

from __future__ import annotations

import pytest

from perdure.nodes.docstring import Help, read


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, Help("", "", {})),
        ("One line.", Help("One line.", "", {})),
        ("Over\n    two lines.\n\n    Then more.\n\n    And more.\n", Help("Over two lines.", "Then more.\n\nAnd more.", {})),
        (
            "S.\n\n    :param a: first\n        and on\n    :param int b: second\n    :returns: it\n",
            Help("S.", "", {"a": "first and on", "b": "second"}),
        ),
        (
            "S.\n\n    Args:\n        a: with: colon\n        *b (int): x\n\n    Raises:\n        E: never\n\n    After.\n",
            Help("S.", "After.", {"a": "with: colon", "b": "x"}),
        ),
        ("\n    Args:\n        a: only this\n", Help("", "", {"a": "only this"})),
    ],
)  # fmt: skip
def test_a_docstring_is_read(text: str | None, expected: Help) -> None:
    """Summary, description and a sentence per parameter; sections about anything else are left out."""
    assert read(text) == expected
