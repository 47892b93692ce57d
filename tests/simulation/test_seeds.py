"""Some seeds of the simulation, as a sample of the long run (`make simulate`); and that a seed always does the same."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import pytest
import yaml
from definitions import Definition
from matrix import ELEMENTS, cells, empty_cells, table
from run import CASES, OPEN, coverage_of, main
from seeds import CHILD, definition_of, live
from shrinking import smaller

from perdure.testing.simulation import FAULTS, Simulation

pytestmark = pytest.mark.not_replayed("a simulation steps all of it again itself")
UNDECIDED = frozenset(yaml.safe_load(OPEN.read_text()) or ())
SEEDS = 120
AT_ONCE = 15


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_repeated(first: int) -> None:
    """No invariant is violated, everything ends, and the reference interpreter comes to the same end."""
    lived = [live(seed) for seed in range(first, first + AT_ONCE) if seed not in UNDECIDED]
    assert [(each.seed, each.wrong) for each in lived if each.wrong] == []
    assert statistics.median(each.nodes for each in lived) >= 20
    assert statistics.median(each.faults.total() for each in lived) >= 5


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(path: Path) -> None:
    """Each case with its seed, its workflow and its input; what was wrong then is said in the file."""
    case = yaml.safe_load(path.read_text())
    assert live(case["seed"], Definition(case["document"], case["input"])).wrong == []


def test_a_seed_always_does_the_same() -> None:
    """Twice the same seed: byte for byte the same journals, at the same times."""
    met: set[str] = set()
    for seed in range(3, 12):
        assert rows_of(seed, met) == rows_of(seed, met)
    assert rows_of(3, met) != rows_of(4, met)
    assert met >= {"paused", "woken late", "cut off", "heartbeat late", "answer lost", "clock drifts"}


def rows_of(seed: int, met: set[str]) -> list[tuple[int, bytes]]:
    """Every row of every journal of a seed; `met`: gets the faults that struck."""
    definition = definition_of(seed)
    simulation = Simulation(seed, definition.document, [definition.input], children=[CHILD])
    simulation.run()
    met.update(simulation.faults)
    return [(row.at, row.body) for seen in simulation.witness.executions.values() for row in seen.rows]


def test_what_faults_meet_is_counted_by_element_policy_and_fault() -> None:
    """A cell that no fault has met is named; the table shows each element with the rarest of its policies."""
    coverage = Counter(dict.fromkeys(cells(), 2))
    assert empty_cells(coverage) == []
    del coverage["loop", "drain", "killed"]
    assert empty_cells(coverage) == [("loop", "drain", "killed")]
    line = next(line for line in table(coverage).splitlines() if line.split()[0] == "loop")
    assert line.split()[1:] == ["0" if fault == "killed" else "2" for fault in FAULTS]


def test_a_sample_of_seeds_meets_every_element() -> None:
    """What stands in the table is drawn, and struck."""
    met = {element for element, _, _ in coverage_of(live(seed) for seed in range(40))}
    assert met >= set(ELEMENTS)


def test_the_run_says_what_came_of_its_seeds(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of what was met, the figures; 0 where no seed failed."""
    seed = next(seed for seed in range(SEEDS, 2 * SEEDS) if seed not in UNDECIDED)
    assert main(["--seeds", "1", "--first", str(seed), "--jobs", "1", "--results", f"{tmp_path}/figures.json"]) == 0
    said = capsys.readouterr().out
    assert "met least" in said
    assert "seeds 1\n" in said


def test_a_seed_that_fails_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not need to fail is left out of its workflow."""
    import shrinking

    monkeypatch.setattr(shrinking, "fails", lambda seed, definition: "n3" in str(definition.document))
    found = smaller(7).document
    assert "n3" in str(found)
    assert len(str(found)) < len(str(definition_of(7).document)) / 3
