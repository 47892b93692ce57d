"""Large values as files: where they lie, in which order they become durable, and what happens when they are spoiled."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import StoreDamaged, StoreFull, StoreReadOnly
from perdure.store.contract import Batch, Blob
from perdure.store.sqlite import SqliteStore, open_store
from perdure.store.sqlite.commit import BLOB_ROW_BYTES_MAX
from perdure.testing.stores.samples import a_blob, a_turn, began

LARGE = a_blob(b"large" * 100_000)


def files(folder: Path) -> list[str]:
    """The files of blobs below a store's folder, parts too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def path_of(store: SqliteStore, blob: Blob) -> Path:
    name = blob.digest.hex()
    return Path(f"{store.place}.blobs") / name[:2] / name


def test_the_border_between_rows_and_files(tmp_path: Path) -> None:
    """Up to 256 KB a blob is a row; one byte more and it is a file named by its digest, and nothing is left half-written."""

    async def save() -> None:
        store = await open_store(tmp_path / "a.db")
        row, file = a_blob(b"x" * BLOB_ROW_BYTES_MAX), a_blob(b"x" * (BLOB_ROW_BYTES_MAX + 1))
        await store.save_blobs([row, file])
        name = file.digest.hex()
        assert files(tmp_path / "a.db.blobs") == [f"{name[:2]}/{name}"]
        assert path_of(store, file).read_bytes() == file.body

    asyncio.run(save())


def test_a_store_in_memory_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory every blob is a row, however large."""

    async def save() -> None:
        store = await open_store(":memory:")
        await store.save_blobs([LARGE])
        assert await store.blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}

    monkeypatch.chdir(tmp_path)
    asyncio.run(save())
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_durable_before_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, flushed, renamed, its folders flushed; only then the transaction that names it begins."""
    deeds: list[str] = []

    def watch(name: str) -> None:
        real: Any = getattr(os, name)

        def deed(target: Any, *rest: Any, **named: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
            kind = "folder" if os.path.isdir(path) else "file"
            deeds.append(f"{name} {kind}")
            return real(target, *rest, **named)

        monkeypatch.setattr(os, name, deed)

    def note(_cursor: object, sql: str, _bindings: object) -> bool:
        deeds.append(sql.split(maxsplit=1)[0])
        return True

    async def save() -> None:
        store = await open_store(tmp_path / "a.db")
        (one,) = await began(store)
        watch("fsync")
        watch("replace")
        store.connection.exec_trace = note
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], blobs=[LARGE]))
        store.connection.exec_trace = None

    asyncio.run(save())
    begin = deeds.index("BEGIN")
    made = deeds[: deeds.index("fsync file")]
    assert set(made) == {"fsync folder"}  # the new folders stand in their parents
    assert deeds[len(made) : begin] == ["fsync file", "replace file", "fsync folder"]
    assert [deed for deed in deeds[begin:] if deed.startswith(("fsync", "replace"))] == []


def test_a_file_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    """Saving the same large value again, for another tenant too, leaves its file alone."""

    async def save() -> None:
        store = await open_store(tmp_path / "a.db")
        await store.save_blobs([LARGE])
        before = path_of(store, LARGE).stat().st_ino
        await store.save_blobs([LARGE, a_blob(LARGE.body, "acme")])
        assert path_of(store, LARGE).stat().st_ino == before
        assert len(files(tmp_path / "a.db.blobs")) == 1

    asyncio.run(save())


def test_a_file_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    """A file of the wrong length is no blob: saving the value mends it."""

    async def save() -> None:
        store = await open_store(tmp_path / "a.db")
        await store.save_blobs([LARGE])
        path_of(store, LARGE).write_bytes(LARGE.body[:-1])
        await store.save_blobs([LARGE])
        assert await store.blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}

    asyncio.run(save())


@pytest.mark.parametrize(
    "spoiled, found",
    [(None, "gone"), (b"", "0 bytes"), (LARGE.body + b"!", "500001 bytes"), (b"!" + LARGE.body[1:], "content has changed")],
)
def test_a_spoiled_file_is_damage(tmp_path: Path, spoiled: bytes | None, found: str) -> None:
    """A file that is gone, shorter, longer or of another content is never given out; the check names the first three."""

    async def read() -> None:
        store = await open_store(tmp_path / "a.db")
        await store.save_blobs([LARGE])
        path = path_of(store, LARGE)
        if spoiled is None:
            path.unlink()
        else:
            path.write_bytes(spoiled)
        with pytest.raises(StoreDamaged, match=found) as raised:
            await store.blobs("default", [LARGE.digest])
        assert path.name in raised.value.message
        findings = await store.check()
        assert len(findings) == (0 if found == "content has changed" else 1)
        assert all(path.name in finding for finding in findings)

    asyncio.run(read())


def test_a_spoiled_row_is_damage() -> None:
    """A small blob whose bytes have changed is not given out either."""

    async def read() -> None:
        store = await open_store(":memory:")
        blob = a_blob(b"small")
        await store.save_blobs([blob])
        store.connection.execute("UPDATE blobs SET body = x'00'")
        with pytest.raises(StoreDamaged, match=blob.digest.hex()):
            await store.blobs("default", [blob.digest])

    asyncio.run(read())


@pytest.mark.parametrize(
    "code, kind",
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EROFS, StoreReadOnly), (errno.EACCES, StoreReadOnly)],
)
@pytest.mark.parametrize("deed", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_fails_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, code: int, kind: type[Exception]
) -> None:
    """The disk's refusal of a blob's file is told in the family's words; neither the step nor a part of the file is left."""

    async def save() -> None:
        store = await open_store(tmp_path / "a.db")
        (one,) = await began(store)
        batch = Batch(turns=[a_turn(one, first_seq=3)], blobs=[LARGE])

        def fail(*_given: Any) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as spoiled:
            spoiled.setattr(os, deed, fail)
            with pytest.raises(kind):
                await store.commit(batch)
        assert len(await store.journal(one)) == 1
        assert await store.blobs("default", [LARGE.digest]) == {}
        assert files(tmp_path / "a.db.blobs") == []
        await store.commit(batch)
        assert await store.blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}

    asyncio.run(save())


def test_opening_sweeps_what_the_dead_left(tmp_path: Path) -> None:
    """A part whose writer died goes when the store is opened; one that is being written stays."""

    async def sweep() -> None:
        store = await open_store(tmp_path / "a.db")
        await store.save_blobs([LARGE])
        parts = tmp_path / "a.db.blobs" / "part"
        (parts / "dead").write_bytes(b"half")
        with (parts / "living").open("wb") as living:
            fcntl.flock(living, fcntl.LOCK_EX)
            await open_store(tmp_path / "a.db")
            assert sorted(path.name for path in parts.iterdir()) == ["living"]
        await open_store(tmp_path / "a.db")
        assert list(parts.iterdir()) == []
        assert await store.blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}

    asyncio.run(sweep())


def test_several_writers_of_one_value_agree(tmp_path: Path) -> None:
    """Saves of the same large value at the same time, in two stores, all succeed and leave one file."""

    async def save() -> None:
        stores = [await open_store(tmp_path / "a.db") for _ in range(2)]
        await asyncio.gather(*(store.save_blobs([LARGE]) for store in stores for _ in range(4)))
        assert await stores[0].blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}
        assert len(files(tmp_path / "a.db.blobs")) == 1

    asyncio.run(save())
