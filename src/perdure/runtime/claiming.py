"""How many executions a worker takes over at once: as many as it has room for, few at first and more while there are more."""

from __future__ import annotations

FIRST = 50
"""Read within some 10 ms, so that their effects begin soon; and whoever else is idle gets the next ones."""

MOST = 500
"""A worker that died with 10^5 executions must not stall the one that helps."""


class Pace:
    """The size of the next claim. It doubles while claims come back full, and begins anew when one does not.

    Where there is no room for more, what is known of more stays known until there is.
    """

    def __init__(self) -> None:
        self.more = False  # is there more to be had, as far as is known? Then the next claim comes soon
        self._size = FIRST
        self._asked = 0

    def next(self, room: int) -> int:
        """How many to claim with room for so many; 0: none."""
        self._asked = max(0, min(self._size, room))
        return self._asked

    def took(self, count: int) -> None:
        """That claim has brought so many."""
        self.more = count >= self._asked
        self._size = min(MOST, 2 * self._size) if self.more else FIRST
