"""The feed as records: its rows and pages, what holds it up, and the cursors by which readers go on, alike in every store."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from perdure.errors import NotFound, Refused
from perdure.ids import ExecutionId, id_text

CURSOR_PREFIX = "f1_"  # the scheme's version; a new scheme is a new prefix
BEFORE_ALL = ExecutionId(b"")
AFTER_ALL = ExecutionId(b"\xff" * 16)
SEQ_MAX = (1 << 62) - 1
_NUMBER_MAX = (1 << 63) - 1
_REMEDY = "Give a cursor as a line of the feed has it; or none, to begin anew: what comes twice is known by execution and seq."


class CursorRefused(Refused):
    """A cursor of the feed is none, or is of another store, another history or another selection. Begin anew, without it."""

    code = "feed.cursor"


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step in the feed: `count` facts from `first_seq` on. `passed`: so many of them the reader had before, which is in the
    middle of this row. `cursor`: to go on after all of it; see `within` for after some of it.
    """

    execution: ExecutionId
    tenant: str
    first_seq: int
    count: int
    at: int
    level: int
    body: bytes
    passed: int
    cursor: str


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader gets at once. `cursor`: to go on after it, also where it is empty. `more`: there is more at once.

    `gap`: after what the cursor had passed, and since it was given, something was removed that the reader had not read.
    """

    rows: list[FeedRow]
    cursor: str
    gap: bool
    more: bool


class FeedLag(msgspec.Struct, frozen=True, kw_only=True):
    """What holds the feed up: the oldest transaction that writes, and may have written what comes next. Microseconds UTC.

    `now`: by the store's clock. `waits`: since when the oldest step waits that is on disk and not in the feed yet, None when
    none does. `began`: when the transaction began, None where this user may not know. `who`: about it, for people; `pid`: the
    server's process, 0 for a transaction that was prepared and left.
    """

    now: int
    waits: int | None
    began: int | None
    who: str
    pid: int


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader wants to see: all, or what is of one tenant, or of one execution."""

    tenant: str | None = None
    execution: ExecutionId | None = None

    @property
    def mark(self) -> bytes:
        """What tells cursors of one selection from those of another."""
        tenant = b"" if self.tenant is None else b"\1" + self.tenant.encode(errors="replace")
        return hashlib.sha256(b"\0".join((tenant, self.execution or b""))).digest()[:4]


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """How far a reader has come: past the row (`number`, `execution`, `first_seq`), or with `facts` past so many facts of it.

    `store`: the kind of store; `history`: its incarnation; `mark`: that of the selection; `removals`: how many removals this
    reader has been told of. `number` is the store's own: where rows stand in the order in which they can be read.
    """

    store: str
    history: bytes
    mark: bytes
    number: int = 0
    execution: bytes = BEFORE_ALL
    first_seq: int = 0
    facts: int = 0
    removals: int = 0

    @property
    def place(self) -> tuple[int, bytes, int]:
        """The row that it is at."""
        return self.number, self.execution, self.first_seq

    @property
    def last_seq(self) -> int:
        """Rows of that number and execution come after this one's place if they begin beyond this."""
        return self.first_seq - 1 if self.facts else self.first_seq

    def text(self) -> str:
        """As people and programs keep it."""
        body = msgspec.msgpack.encode(self)
        body += zlib.crc32(body).to_bytes(4, "big")
        return CURSOR_PREFIX + base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def read_cursor(text: str, store: str, selection: Selection) -> Cursor:
    """The cursor that a text says, the beginning for an empty one. Raises CursorRefused for one that cannot be this store's."""
    if not text:
        return Cursor(store, b"", selection.mark)
    cursor = _decoded(text)
    if cursor.store != store:
        _refuse(f"it is of a store of another kind ({cursor.store}), and this one is {store}")
    if cursor.mark != selection.mark:
        _refuse("it was given for another selection of tenant and execution than this one")
    return cursor


def within(cursor: str, facts: int) -> str:
    """The cursor after so many facts of a row, from the one after all of it. `facts`: at least one, and not all of them."""
    return msgspec.structs.replace(_decoded(cursor), facts=facts).text()


def _decoded(text: str) -> Cursor:
    encoded = text.removeprefix(CURSOR_PREFIX)
    try:
        body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.msgpack.decode(body[:-4], type=Cursor)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        _refuse("it is none, or only part of one")
    numbers = (cursor.number, cursor.first_seq, cursor.facts, cursor.removals)
    if not all(0 <= number <= _NUMBER_MAX for number in numbers) or cursor.text() != text:  # the sum at its end, too
        _refuse("it is none, or only part of one")
    return cursor


def _refuse(why: str) -> NoReturn:
    raise CursorRefused(f"Expected a cursor of this feed, but {why}.", remedy=_REMEDY)


# -- what stores do alike ---------------------------------------------------------------------------------------------


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a store finds beside the rows, in the same look. `end`: no row that can be read has a larger number.

    `found`: which row, by number, execution and first fact, has the place in this store that the cursor's has in its own, if
    any; `reached`: the last fact of the cursor's execution, None where it is not there. `removals`: how many there were;
    `gap`: whether those that the reader was not told of concern what comes after the cursor.
    """

    history: bytes
    end: int
    found: tuple[int, bytes, int] | None
    reached: int | None
    removals: int
    gap: bool


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was looked at. Not `stays`: what it is of was removed."""

    number: int
    execution: bytes
    first_seq: int
    count: int
    at: int
    level: int
    tenant: str
    body: bytes
    stays: bool


def begun(cursor: Cursor, standing: Standing) -> Cursor:
    """The cursor as of this store and its removals by now. Raises CursorRefused where it is not of the store's history."""
    if not cursor.history:
        return msgspec.structs.replace(cursor, history=standing.history, removals=standing.removals)
    if cursor.history != standing.history:
        _refuse("it is of another store, or of this one before it was restored from a copy")
    is_row = len(cursor.execution) == len(AFTER_ALL) and cursor.execution != AFTER_ALL
    if cursor.number > standing.end or (is_row and standing.found is not None and standing.found != cursor.place):
        _refuse("it is ahead of this store, or of another history: the store was restored from an older copy")
    if is_row and standing.found is None and standing.reached is not None and standing.reached < cursor.first_seq:
        _refuse(f"{id_text(ExecutionId(cursor.execution))} has not come that far: the store was restored from an older copy")
    return msgspec.structs.replace(cursor, removals=standing.removals)


def page(cursor: Cursor, standing: Standing, looked: Sequence[Looked], *, selection: Selection, limit: int) -> FeedPage:
    """The page that a store gives of the rows it looked at beyond a cursor, `limit` of them at most."""
    gap = bool(cursor.history) and standing.gap
    cursor = now = begun(cursor, standing)
    rows = []
    for row in looked:
        passed = cursor.facts if (row.number, row.execution, row.first_seq) == cursor.place else 0
        now = msgspec.structs.replace(cursor, number=row.number, execution=row.execution, first_seq=row.first_seq, facts=0)
        if row.stays and selection.tenant in (None, row.tenant):
            given = FeedRow(
                execution=ExecutionId(row.execution), tenant=row.tenant, first_seq=row.first_seq, count=row.count,
                at=row.at, level=row.level, body=row.body, passed=passed, cursor=now.text(),
            )  # fmt: skip
            rows.append(given)
    return FeedPage(rows=rows, cursor=now.text(), gap=gap, more=len(looked) == limit)


def at_end(cursor: Cursor, standing: Standing, execution: bytes = AFTER_ALL, first_seq: int = SEQ_MAX) -> FeedPage:
    """An empty page whose cursor is behind all that could be read now."""
    cursor = msgspec.structs.replace(begun(cursor, standing), number=standing.end, execution=execution, first_seq=first_seq)
    return FeedPage(rows=[], cursor=cursor.text(), gap=False, more=False)


def page_of_execution(
    cursor: Cursor, rows: Sequence[Sequence[Any]], *, selection: Selection, limit: int, latest: bool
) -> FeedPage:  # fmt: skip
    """The page of one execution, whose own order is enough: nothing of it is ever late. Raises NotFound where it is not there.

    A row: history, the execution's last fact and tenant; then of a step first fact, count, time, level and body, if there is on
    """
    execution = selection.execution
    assert execution is not None, "it is of one execution"
    if not rows or selection.tenant not in (None, rows[0][2]):
        raise NotFound(
            f"There is no execution {id_text(execution)} in this store, or no more: it may be over its retention.",
            remedy="`perdure list` shows what there is.",
        )
    history, reached, *_ = rows[0]
    standing = Standing(history=history, end=0, found=None, reached=reached, removals=0, gap=False)
    if latest:
        return at_end(cursor, standing, execution, reached)
    looked = [
        Looked(
            number=0, execution=execution, first_seq=first_seq, count=count, at=at, level=level, tenant=tenant, body=body,
            stays=True,
        )
        for _, _, tenant, first_seq, count, at, level, body in rows if first_seq is not None
    ]  # fmt: skip
    return page(cursor, standing, looked, selection=selection, limit=limit)
