"""Labels: one text for each set of them, read back as written; what is none is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.labels import LABELS_MAX, labels_from, labels_text, read_labels, satisfies


@pytest.mark.parametrize(
    "given, text",
    [
        ({}, ""),
        ({"gpu": True}, "gpu=true"),
        ({"region": "eu", "gpu": False, "cores": 8}, "cores=8,gpu=false,region=eu"),
        ({"a.b/c_d-e": "1:2+3/4"}, "a.b/c_d-e=1:2+3/4"),
    ],
)
def test_labels_have_one_text_that_reads_back(given: dict[str, Any], text: str) -> None:
    """Truth values and whole numbers are texts as YAML writes them; names stand in order."""
    assert labels_text(read_labels(given)) == text
    assert labels_from(text) == read_labels(given)
    assert labels_from(f" {text.replace(',', ' , ').replace('=', ' = ')} ,") == read_labels(given)


@pytest.mark.parametrize(
    "given, words",
    [
        ([], "Expected labels such as"),
        ({"": 1}, "a label's name"),
        ({"a b": 1}, "a label's name"),
        ({1: 1}, "a label's name"),
        ({"a": ""}, "for the label a"),
        ({"a": "x,y=1"}, "for the label a"),
        ({"a": None}, "for the label a"),
        ({"a": 1.5}, "for the label a"),
        ({"a": "x" * 129}, "for the label a"),
        ({f"a{number}": 1 for number in range(LABELS_MAX + 1)}, "at most 32 labels"),
    ],
)
def test_what_is_no_label_is_refused(given: Any, words: str) -> None:
    """The sentence says which one, and what it may be."""
    with pytest.raises(ValueError, match=words):
        read_labels(given)


@pytest.mark.parametrize("text, words", [("gpu", "has no value"), ("a=1,a=2", "a is given twice"), ("=1", "a label's name")])
def test_a_text_that_is_no_labels_is_refused(text: str, words: str) -> None:
    """As from the command line, or a variable."""
    with pytest.raises(ValueError, match=words):
        labels_from(text)


def test_a_worker_satisfies_what_it_has() -> None:
    """All of it, with the same values; nothing is asked for by nobody."""
    has = {"gpu": "true", "region": "eu"}
    assert satisfies(has, {})
    assert satisfies(has, {"gpu": "true"})
    assert not satisfies(has, {"gpu": "false"})
    assert not satisfies(has, {"gpu": "true", "disk": "fast"})
    assert not satisfies({}, {"gpu": "true"})
