"""Attacks of untrusted authors: each is refused with its exact code, a place, a remedy, and within the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perdure.expressions import CODES, Budget, ExpressionError, PlainNames, compile_expression

ATTACKS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "attacks.yaml").read_text())
CAUGHT_WHEN_SAVED = [attack for attack in ATTACKS if "code" in attack and "when" not in attack]
CAUGHT_WHEN_EVALUATED = [attack for attack in ATTACKS if "when" in attack]
HARMLESS = [attack for attack in ATTACKS if "value" in attack]


def source_of(attack: dict[str, Any]) -> str:
    if "repeat" in attack:
        start, middle, times, end = attack["repeat"]
        closing = {"(": ")", "[": "]", "{": "}"}
        tail = "".join(closing[sign] for sign in reversed(start + middle * times) if sign in closing and sign in "([{")
        return f"{start}{middle * times}{end}{tail if middle[0] in closing and start == '' else ''}"
    return str(attack["source"])


def names_of(attack: dict[str, Any]) -> PlainNames:
    values: dict[str, Any] = {"nodes": {}, "state": {}, "previous": {}}
    if "names" in attack:
        values["input"] = attack["names"]
    return PlainNames(values, at=1_772_000_000_000_000, seed=b"attack")


def check_report(error: ExpressionError, source: str, code: str) -> None:
    assert error.code == code, str(error)
    assert error.code in CODES
    assert error.message.startswith("Expected ")
    assert 0 <= error.offset <= len(source)
    assert error.line >= 1
    assert error.column >= 1


def test_there_are_many_attacks() -> None:
    """The file holds well over a hundred attacks, and none of them twice."""
    assert len(ATTACKS) > 150
    assert len({attack["title"] for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", CAUGHT_WHEN_SAVED, ids=lambda attack: str(attack["title"]))
def test_an_attack_is_refused_when_saved(attack: dict[str, Any]) -> None:
    """Forbidden syntax, unknown functions and sources that are too large never become an expression."""
    source = source_of(attack)
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    check_report(caught.value, source, attack["code"])


@pytest.mark.parametrize("attack", CAUGHT_WHEN_EVALUATED, ids=lambda attack: str(attack["title"]))
def test_an_attack_is_refused_when_evaluated(attack: dict[str, Any]) -> None:
    """What only the data shows is refused by the evaluation, which never spends more than its budget."""
    expression = compile_expression(source_of(attack))
    budget = Budget()
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(names_of(attack), budget)
    check_report(caught.value, expression.source, attack["code"])
    assert 0 <= budget.spent.operations <= budget.operations
    assert 0 <= budget.spent.touched <= budget.touched


@pytest.mark.parametrize("attack", HARMLESS, ids=lambda attack: str(attack["title"]))
def test_an_attack_has_no_effect(attack: dict[str, Any]) -> None:
    """Some attacks are ordinary expressions here, with an ordinary value."""
    assert compile_expression(source_of(attack)).evaluate(names_of(attack), Budget()) == attack["value"]
