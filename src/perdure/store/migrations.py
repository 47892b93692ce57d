"""Numbered SQL files that bring a database up to date: read from a store's folder, in order, each with its checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

import msgspec

from perdure.errors import StoreError, StoreTooNew

_FILE_NAME = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered step of a schema. `checksum`: SHA-256 in hex over `sql`, kept in the database once it is applied."""

    number: int
    name: str
    sql: str
    checksum: str


def load(package: str, folder: str = "migrations") -> tuple[Migration, ...]:
    """All migrations in `folder` of `package` (`0001_first.sql`, …), in order; ValueError where a name or number is wrong."""
    found = []
    for file in files(package).joinpath(folder).iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise ValueError(f"Expected a migration named like 0001_first.sql, but {package} has {file.name!r}.")
        # A checkout that turns line ends round is still the same migration.
        sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        found.append(Migration(number=int(match[1]), name=match[2], sql=sql, checksum=checksum))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"Expected the migrations of {package} to be numbered 1, 2, 3 …, but they are {numbers}.")
    return tuple(found)


def missing(known: Sequence[Migration], applied: Mapping[int, str], place: str) -> tuple[Migration, ...]:
    """Those of `known` that a database at `place` still lacks; `applied` maps its numbers to their checksums.

    Raises StoreTooNew when the database is ahead of `known`, StoreError when one was applied in another wording.
    """
    newest = max(applied, default=0)
    if newest > len(known):
        raise StoreTooNew(
            f"Expected {place} to have at most schema {len(known)}, but it has schema {newest}, written by a newer Perdure.",
            remedy="Upgrade this installation, or open the store with the one that wrote it.",
        )
    for migration in known:
        checksum = applied.get(migration.number, migration.checksum)
        if checksum != migration.checksum:
            raise StoreError(
                f"Expected migration {migration.number} ({migration.name}) of {place} to have the checksum "
                f"{migration.checksum[:12]}…, but it was applied as {checksum[:12]}….",
                remedy="The store was made by another build; open it with that one, or restore a copy from before it.",
            )
    return tuple(migration for migration in known if migration.number not in applied)
