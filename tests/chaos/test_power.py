"""The file system that forgets: what is flushed stays, what is not may go, in whole, in part, or torn at a sector."""

from __future__ import annotations

import random

import pytest
from power import MERCIES, SECTOR_BYTES, Disk, Mercy, Unflushed


def test_what_is_flushed_survives_whatever_is_forgotten() -> None:
    """A write before the flush stays, one after it is forgotten."""
    disk = Disk()
    disk.change(Unflushed("a", data=b"one"))
    disk.flush("a")
    disk.change(Unflushed("a", offset=3, data=b"two"))
    assert disk.left("none", random.Random(1)) == {"a": b"one"}
    assert disk.operations == 3


def test_a_file_that_was_never_flushed_is_not_there() -> None:
    """The flush of another file does not help it."""
    disk = Disk()
    disk.change(Unflushed("a", data=b"one"))
    disk.change(Unflushed("b", data=b"two"))
    disk.flush("b")
    assert disk.left("none", random.Random(1)) == {"b": b"two"}


def test_a_removal_is_forgotten_until_a_new_file_of_the_folder_is_flushed() -> None:
    """So it is on a disk: the name goes with the next flush of the folder, which comes with the first flush of a new file."""
    disk = Disk()
    disk.change(Unflushed("journal", data=b"old"))
    disk.flush("journal")
    disk.change(Unflushed("journal", removed=True))
    assert disk.left("none", random.Random(1)) == {"journal": b"old"}
    disk.change(Unflushed("log", data=b"new"))
    disk.flush("log")
    assert disk.left("none", random.Random(1)) == {"log": b"new"}


@pytest.mark.parametrize("mercy", MERCIES)
def test_a_write_is_torn_at_sectors_and_nowhere_else(mercy: Mercy) -> None:
    """Each sector of the file is as it was or as it was written; over many losses both are seen."""
    disk = Disk()
    disk.change(Unflushed("a", data=b"o" * SECTOR_BYTES * 4))
    disk.flush("a")
    disk.change(Unflushed("a", offset=100, data=b"n" * SECTOR_BYTES * 3))
    seen = set()
    for seed in range(200):
        content = disk.left(mercy, random.Random(seed))["a"]
        assert len(content) == SECTOR_BYTES * 4
        parts = [content[place : place + SECTOR_BYTES] for place in range(0, len(content), SECTOR_BYTES)]
        assert parts[0] in (b"o" * SECTOR_BYTES, b"o" * 100 + b"n" * (SECTOR_BYTES - 100))
        assert set(parts[1]) in ({ord("o")}, {ord("n")})
        seen.add(content)
    assert len(seen) == {"none": 1, "prefix": 5, "sectors": 16}[mercy]


def test_a_truncation_is_forgotten_like_a_write() -> None:
    """The file has its old length again."""
    disk = Disk()
    disk.change(Unflushed("a", data=b"long"))
    disk.flush("a")
    disk.change(Unflushed("a", length=1))
    assert disk.left("none", random.Random(1)) == {"a": b"long"}
    disk.flush("a")
    assert disk.left("none", random.Random(1)) == {"a": b"l"}


def test_the_same_chance_leaves_the_same() -> None:
    """A loss of power can be had again by its seed."""
    disk = Disk()
    disk.change(Unflushed("a", data=bytes(range(256)) * 40))
    assert disk.left("sectors", random.Random(5)) == disk.left("sectors", random.Random(5))
