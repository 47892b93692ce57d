"""Losses of power: what the store acknowledged is there afterwards, and life goes on; the audit that says so can say no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from audit import History
from blackout import Life, blackouts
from receiver import Receipt


def test_a_loss_of_power_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Unflushed writes are dropped, cut or torn at many moments, also of a life that follows a loss; all ends as it should."""
    found = blackouts(tmp_path, seed=7, losses=12, executions=6, generations=2)
    assert found.violations == []
    assert found.losses >= 12
    assert found.flushes > 50


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_store_that_does_not_flush_each_commit_is_found_out(tmp_path: Path, synchronous: str) -> None:
    """With any weaker setting than the store's own the same losses of power do lose what was acknowledged."""
    found = blackouts(tmp_path, seed=7, losses=12, executions=4, synchronous=synchronous)
    assert found.lost > 0
    assert any("was committed, but is lost" in sentence for sentence in found.violations)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life without any loss, at whose end all is as it should be."""
    lived = Life(tmp_path_factory.mktemp("life") / "whole", 7, 12, "FULL")
    assert lived.live() == []
    assert {receipt.deed for receipt in lived.history.receipts} >= {"square", "step", "leave", "hear", "shot"}
    return lived


Tampering = Callable[[History], History]


def twice(deed: str) -> Tampering:
    """One more receipt of a deed."""
    return lambda history: replace(history, receipts=[*history.receipts, _of(history, deed)])


def _of(history: History, deed: str) -> Receipt:
    return next(receipt for receipt in history.receipts if receipt.deed == deed)


def _refused(history: History, deed: str) -> list[Receipt]:
    return [replace(receipt, fate="refused") if receipt.deed == deed else receipt for receipt in history.receipts]


@pytest.mark.parametrize(
    "tampering, sentence",
    [
        (lambda history: replace(history, starts=[*history.starts, (0, "ex_lost")]), "the store has no such execution"),
        (lambda history: replace(history, starts=[*history.starts, (0, "ex_lost")]), "was answered with 2 executions"),
        (lambda history: replace(history, signals=[*history.signals, ("k7-0", "lost")]), "no step took it in"),
        (lambda history: replace(history, receipts=[]), "was never received"),
        (lambda history: replace(history, receipts=_refused(history, "hear")), "which the receiver never carried out"),
        (twice("hear"), "but the journal allows"),
        (twice("shot"), "at most once was promised"),
        (
            lambda history: replace(history, receipts=[*history.receipts, replace(_of(history, "hear"), key="p1_other")]),
            "was received under 2 keys",
        ),
        (
            lambda history: replace(history, receipts=[*history.receipts, replace(_of(history, "hear"), deed="seat")]),
            "it was not to be done",
        ),
    ],
)
def test_the_audit_finds_what_does_not_fit(life: Life, tampering: Tampering, sentence: str) -> None:
    """A world outside that remembers something else than the store is noticed, in a sentence."""
    assert any(sentence in violation for violation in life.judge(tampering(life.history)))
