"""The commands on a store in PostgreSQL: what starts, looks, tells and verifies takes its URL as it takes a file."""

from __future__ import annotations

import pytest
from command_line import ASK, Perdure

from perdure.testing.stores.postgres import PostgresPlace


def test_every_command_takes_the_url_of_a_database(
    perdure: Perdure, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution is started, listed, shown, signalled, carried to its end by `resume`, and verified."""
    monkeypatch.setenv("PERDURE_STORE", postgres_place.url)
    empty = perdure("list")
    assert (empty.code, "Expected a store in" in empty.stderr) == (2, True)  # no command that only looks makes one
    execution = perdure.run(ASK, "--no-wait").last["execution"]
    assert [line["execution"] for line in perdure("list", "--json").lines] == [execution]
    assert perdure("show", execution).code == 0
    assert perdure("signal", execution, "go").code == 0
    assert perdure("resume", "--json").last["status"] == "succeeded"
    verified = perdure("verify", "--deep")
    assert (verified.code, verified.stdout.rpartition(": ")[2]) == (0, "all sound\n")
